"""Getting the files of data sets: from a folder, the cache, a publisher or a package, each file verified. Importing it loads no torch."""
