"""Boxes, names and masks drawn into images: where they are, and that they are seen on any ground."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import PIL.Image
import pytest

from resnets.reports.drawn_objects import PALETTE, class_colour, draw_boxes, draw_mask

CLASSES = ("cat", "dog", "a very long name of a class")


def ground(colour: object = "white", size: tuple[int, int] = (220, 220)) -> PIL.Image.Image:
    return PIL.Image.new("RGB", size, colour)  # type: ignore[arg-type]


def changed(drawn: PIL.Image.Image, before: PIL.Image.Image) -> np.ndarray:
    return (np.asarray(drawn, int) != np.asarray(before.convert("RGB"), int)).any(2)


def test_the_frame_lies_on_the_boxs_edges() -> None:
    # An image of 220 x 220 has lines of one pixel; the box's last column and row are those before its edges.
    drawn = np.asarray(draw_boxes(ground(), [[60, 80, 160, 150]], [0], classes=CLASSES))
    colour = np.array(class_colour(0))
    assert (drawn[149, 60:160] == colour).all()
    assert (drawn[80:150, 159] == colour).all()
    assert (drawn[90:150, 60] == colour).all()
    touched = np.argwhere(changed(PIL.Image.fromarray(drawn), ground()))
    # Its dark line is one pixel outside; the plate with the name above.
    assert touched.max(0).tolist() == [150, 160]
    assert touched[:, 1].min() == 59
    inside = drawn[90:140, 70:150]
    assert (inside == 255).all()


@pytest.mark.parametrize("background", ["white", "black", (128, 128, 128), *PALETTE])
def test_every_line_stands_out_from_every_ground(background: object) -> None:
    for k in range(len(PALETTE)):
        names = [str(i) for i in range(len(PALETTE))]
        drawn = np.asarray(draw_boxes(ground(background), [[60, 80, 160, 150]], [k], classes=names), float)
        line = drawn[115, 55:65]  # across the left side
        before = np.asarray(ground(background), float)[0, 0]
        assert np.abs(line - before).max() >= 110


def test_the_image_itself_stays_as_it_is_and_grey_ones_become_rgb() -> None:
    for mode in ("L", "RGB", "RGBA", "CMYK", "P", "1"):
        image = ground("white", (64, 64)).convert(mode)
        before = image.tobytes()
        drawn = draw_boxes(image, [[10, 20, 40, 60]], [1], [0.5], CLASSES)
        assert (drawn.mode, drawn.size, image.tobytes()) == ("RGB", (64, 64), before)
        assert changed(drawn, image).any()


def test_the_surest_box_lies_above_the_others() -> None:
    boxes = [[60, 80, 160, 150], [60, 80, 160, 150]]
    for scores, top in (([0.9, 0.2], 0), ([0.2, 0.9], 1)):
        drawn = np.asarray(draw_boxes(ground(), boxes, [0, 1], scores, CLASSES))
        assert tuple(drawn[120, 60]) == class_colour(top)


def test_names_stay_inside_the_image() -> None:
    corners = [[0, 0, 30, 30], [190, 0, 220, 30], [0, 190, 30, 220], [190, 190, 220, 220]]
    for box in corners:
        drawn = changed(draw_boxes(ground(), [box], [2], [0.99], CLASSES), ground())
        plate = (np.asarray(draw_boxes(ground(), [box], [2], [0.99], CLASSES)) == class_colour(2)).all(2)
        # All of the plate is there: its widest row is as wide as in the middle of a large image.
        large = ground(size=(2200, 22))
        middle = (np.asarray(draw_boxes(large, [[900, 20, 930, 21]], [2], [0.99], CLASSES)) == class_colour(2)).all(2)
        assert plate.sum(1).max() >= 0.9 * middle.sum(1).max()
        assert drawn.any()


def test_the_score_is_written_in_percent_and_left_out_where_there_is_none() -> None:
    with_score = changed(draw_boxes(ground(), [[60, 80, 90, 110]], [0], [0.97], CLASSES), ground())
    without = changed(draw_boxes(ground(), [[60, 80, 90, 110]], [0], None, CLASSES), ground())
    assert with_score.sum() > without.sum()
    other = draw_boxes(ground(), [[60, 80, 90, 110]], [0], [0.31], CLASSES)
    assert changed(other, draw_boxes(ground(), [[60, 80, 90, 110]], [0], [0.97], CLASSES)).any()


def test_lines_and_letters_grow_with_the_image() -> None:
    def plate_height(side: int) -> int:
        drawn = np.asarray(
            draw_boxes(ground(size=(side, side)), [[side // 4, side // 2, side // 2, side // 2 + 2]], [0], None, CLASSES)
        )
        return int((drawn == class_colour(0)).all(2).any(1).sum())

    assert plate_height(2000) > 2.5 * plate_height(500)


def test_boxes_without_area_or_outside_the_image_are_drawn_without_an_error() -> None:
    boxes = [[50, 50, 50, 50], [-20, -20, 10, 10], [300, 300, 400, 400], [0, 0, 1e4, 1e4], [10.5, 20.25, 11, 20.5]]
    assert draw_boxes(ground(), boxes, [0] * 5, [0.5] * 5, CLASSES).size == (220, 220)
    tiny = draw_boxes(ground(size=(3, 2)), [[0, 0, 3, 2]], [0], [1.0], CLASSES)
    assert tiny.size == (3, 2)
    assert not changed(draw_boxes(ground(), np.zeros((0, 4)), [], [], CLASSES), ground()).any()


def test_what_does_not_fit_together_is_an_error() -> None:
    with pytest.raises(ValueError, match="1 boxes, 2 labels"):
        draw_boxes(ground(), [[0, 0, 9, 9]], [0, 1], None, CLASSES)
    with pytest.raises(ValueError, match="label 3 is none of the 3 classes"):
        draw_boxes(ground(), [[0, 0, 9, 9]], [3], None, CLASSES)
    with pytest.raises(ValueError, match="mask of 10 x 20 for an image of 220 x 220"):
        draw_mask(ground(), np.zeros((10, 20), np.uint8), CLASSES)
    with pytest.raises(ValueError, match="label 3 is none of the 3 classes"):
        draw_mask(ground(), np.full((220, 220), 4), CLASSES)


def test_a_mask_colours_its_class_and_leaves_the_background() -> None:
    mask = np.zeros((220, 220), np.uint8)
    mask[60:200, 20:120], mask[60:200, 130:210] = 2, 255
    drawn = np.asarray(draw_mask(ground("black"), mask, CLASSES, opacity=0.5), int)
    assert (drawn[:50] == 0).all()
    assert (drawn[190, 30:110] == np.array(class_colour(1)) // 2).all()
    assert (drawn[190, 140:200] == 64).all()  # ignored places are grey
    assert (drawn[60, 30:110] == 255).all()  # its border is white
    # The name's plate is in the middle of the area.
    plate = np.argwhere((drawn == class_colour(1)).all(2))
    assert abs(plate.mean(0) - [130, 70]).max() < 12


def test_a_name_lies_inside_a_ring() -> None:
    mask = np.zeros((220, 220), np.uint8)
    mask[20:200, 20:200] = 1
    mask[70:150, 60:160] = 0
    plate = np.argwhere((np.asarray(draw_mask(ground("black"), mask, CLASSES)) == class_colour(0)).all(2))
    row, column = plate.mean(0)
    assert not (70 <= row < 150 and 60 <= column < 160)


def test_many_classes_have_colours_that_differ() -> None:
    colours = [class_colour(k) for k in range(42)]
    assert len(set(colours)) == 42
    # Those that follow each other, which images of few classes use, are far apart.
    assert min(max(abs(a - b) for a, b in zip(one, other, strict=True)) for one, other in pairwise(colours)) > 60
