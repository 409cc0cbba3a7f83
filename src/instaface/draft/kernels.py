"""What the draft does to each pixel, compiled: one pass over the picture where arrays would take dozens.

Each kernel works on rows ``first`` to ``last`` of its arrays, so that bands of rows run in threads, see
:func:`instaface.render.rasterise.in_bands`. Arrays are float32 and contiguous unless said otherwise.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from instaface.face.colour import linear_from_srgb, srgb_from_linear
from instaface.render.rasterise import look_up

# Columns of what is interpolated over a layer's surfaces, see Surfaces.values.
BEFORE, FACING, RATIO, PAST, STRETCHED, MOVED, SOLID, WEIGHT, LOOKUP, HAIR = 0, 3, 5, 8, 9, 10, 11, 12, 13, 15
COLUMNS = 16

MIRRORED = 0.5  # coverage of what comes from the face's other half; 1 is seen, 0 invented
KNOWN = 0.45  # coverage from which on the photo says what is there: seen or mirrored
GREY = np.float32(127.5)  # what was never seen, in the appearance map
VISIBLE = 0.02  # opacity from which a layer counts
SOLIDITY = 0.9, 1.0  # opacity, from that of loose hair to that of what is solid
STILL = 0.25, 0.75  # pixels of movement, from none to all of it
OWN = 0.03  # pixels by which a place may be off the pixel's own and is taken for it
SAME_LIGHT = np.float32(1e-3)  # difference of a ratio of light to 1 that is none
SHOULDER = np.float32(0.75)  # linear brightness from which on relit pixels approach white without reaching it
SHOULDERED = 0.15, 0.45  # share of the head's turn below which the neck widens to the shoulders
TURN_STRETCH = 2.0, 3.5  # growth of a surface across its slope, from well borne to not at all
HAIR_STRETCH = 1.7, 2.8  # the same of hair, of which there is more where that came from
CUT = 0.005  # of the canvas' width: over which strands end that the photo's border cuts
BLUR = np.float32(0.15)  # variance in pixels of the blur that lenses, sensors and compression leave in a sharp photo
TWICE = np.float32(4)  # square of the pixels between a pixel's two neighbours
FOLDED = np.float32(64)  # of those of the photo between them, from which on they are not of one surface


@njit(cache=True, nogil=True, error_model="numpy")
def smooth(x, low, high):  # type: ignore[no-untyped-def]
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@njit(cache=True, nogil=True, error_model="numpy")
def shows(alpha):  # type: ignore[no-untyped-def]
    """0..1, whether something of this opacity is seen."""
    return smooth(alpha, VISIBLE, 4 * VISIBLE)


ZERO, HALF, ONE, FULL = (np.float32(x) for x in (0, 0.5, 1, 255))  # plain numbers would make all of them double
STEPS = np.float32(1024)  # of the tables of the sRGB curve, between which is interpolated
_EVEN = np.linspace(0, 1 + 1 / STEPS, int(STEPS) + 2)
TO_LINEAR = linear_from_srgb(_EVEN).astype(np.float32)
TO_SRGB = srgb_from_linear(_EVEN**2).astype(np.float32)  # by the square root, since the curve is steep at 0


@njit(cache=True, nogil=True, error_model="numpy")
def _look_up(table, x):  # type: ignore[no-untyped-def]
    """A function tabulated over 0..1."""
    place = min(max(x, ZERO), ONE) * STEPS
    k = np.uint32(place)
    return table[k] + (place - np.float32(k)) * (table[k + 1] - table[k])


@njit(cache=True, nogil=True, error_model="numpy")
def same_light(kr, kg, kb):  # type: ignore[no-untyped-def]
    return max(abs(kr - ONE), abs(kg - ONE), abs(kb - ONE)) < SAME_LIGHT


@njit(cache=True, nogil=True, error_model="numpy")
def _lit(r, g, b, kr, kg, kb):  # type: ignore[no-untyped-def]
    """An sRGB pixel 0..255 times a ratio in linear RGB; what gets bright approaches white, as on film."""
    if same_light(kr, kg, kb):
        return r, g, b
    r, g, b = _look_up(TO_LINEAR, r / FULL), _look_up(TO_LINEAR, g / FULL), _look_up(TO_LINEAR, b / FULL)
    knee = max(r, g, b, SHOULDER)
    r, g, b = r * kr, g * kg, b * kb
    # Film's shoulder, above what the pixel was: the brightest channel is held back, the others go with it.
    brightest = max(r, g, b)
    if brightest > knee:
        over, room = brightest - knee, max(ONE - knee, SAME_LIGHT)
        held = (knee + over / (ONE + over / room)) / brightest
        r, g, b = r * held, g * held, b * held
    r, g, b = _look_up(TO_SRGB, np.sqrt(r)), _look_up(TO_SRGB, np.sqrt(g)), _look_up(TO_SRGB, np.sqrt(b))
    return FULL * r, FULL * g, FULL * b


@njit(cache=True, nogil=True, error_model="numpy")
def relight_rows(first, last, colour, ratio, out):  # type: ignore[no-untyped-def]
    """(H, W, 3) colours in their new light."""
    for j in range(first, last):
        for i in range(colour.shape[1]):
            r, g, b = colour[j, i]
            kr, kg, kb = ratio[j, i]
            out[j, i, 0], out[j, i, 1], out[j, i, 2] = _lit(r, g, b, kr, kg, kb)


@njit(cache=True, nogil=True, error_model="numpy")
def locate_rows(first, last, left, top, width, focal, cx, cy, pixels, values, source):  # type: ignore[no-untyped-def]
    """Where in the photo the surface that a pixel shows was; a place that is the pixel's own is moved to its centre.

    Args:
        left, top, width: of the window, pixels.
        focal, cx, cy: of the camera, pixels.
        pixels: (h, w) int64 indices of the window's pixels.
        values: (h, w, C) of which the first three are places in the photo's camera space; 0 where there is nothing,
            which is its own place.
        source: (h, w, 3) results: x, y, depth.
    """
    for j in range(first, last):
        for i in range(pixels.shape[1]):
            own_x, own_y = np.float32(left + pixels[j, i] % width + 0.5), np.float32(top + pixels[j, i] // width + 0.5)
            depth = -values[j, i, BEFORE + 2]
            if depth <= 0:
                source[j, i, 0], source[j, i, 1], source[j, i, 2] = own_x, own_y, np.inf
                continue
            x = np.float32(cx + focal * values[j, i, BEFORE] / depth)
            y = np.float32(cy - focal * values[j, i, BEFORE + 1] / depth)
            if max(abs(x - own_x), abs(y - own_y)) < OWN:
                x, y = own_x, own_y
            source[j, i, 0], source[j, i, 1], source[j, i, 2] = x, y, depth


@njit(cache=True, nogil=True, error_model="numpy")
def _turned(before, after, stretch):  # type: ignore[no-untyped-def]
    """0..1, how well a surface's pixels bear its turn, from the cosines of its slope in the photo and in the edit, and
    the growth across the slope from well borne to not at all."""
    return smooth(before, 0.05, 0.3) * (1 - smooth(after / max(before, 1e-3), *stretch))


@njit(cache=True, nogil=True, error_model="numpy")
def _put(j, i, pixel, seen, mirrored, inside, values, photo, fallback, marks, change, colour, ratio, flat):  # type: ignore[no-untyped-def]
    """A layer's pixel: the photo as far as it is ``seen``, else the fallback; marks go with the old light."""
    for c in range(3):
        colour[pixel, c] = fallback[j, i, c] + seen * (photo[j, i, c] - fallback[j, i, c])
        ratio[pixel, c] = values[j, i, RATIO + c]
        if change > 0:
            ratio[pixel, c] *= np.exp(-change * seen * marks[j, i, c])
    flat[1, pixel] = (seen + MIRRORED * (1 - seen) * mirrored) * inside


@njit(cache=True, nogil=True, error_model="numpy")
def skin_rows(  # type: ignore[no-untyped-def]
    first,
    last,
    pixels,
    cover,
    values,
    photo,
    masks,
    texture,
    shown,
    around,
    trusted,
    marks,
    change,
    colour,
    ratio,
    flat,
):
    """The face model: the photo where the camera saw it, else the unwrapped texture.

    Args:
        pixels: (h, w) int64, which of the window's N pixels show something; what is (h, w, ...) belongs to them.
        cover: (h, w) share of the pixel that is covered.
        values: (h, w, COLUMNS) of the surfaces.
        photo: (h, w, 4) the head's colour and opacity, at the places of the photo that the pixels show.
        masks: (h, w, 4) bare, bare without its rim, inside and hair, there.
        texture: (h, w, 4) colour and share mirrored.
        shown: (h, w) bool, whether the camera saw that place.
        around: (h, w) uint8, the same of any neighbour: an anti-aliased border shows a bit more.
        trusted: (h, w) 0..1 where the photo shows these parts for certain, below 0 where it never does; (0, 0)
            trusts all.
        marks: (h, w, 3) of the photo's light; (0, 0, 3) without ``change``.
        change: 0..1, how far the light is another one.
        colour, ratio: (N, 3) results.
        flat: (4, N) results: opacity, coverage, still, over.
    """
    for j in range(first, last):
        for i in range(pixels.shape[1]):
            pixel, before, after = pixels[j, i], values[j, i, FACING], values[j, i, FACING + 1]
            alpha = min(max(photo[j, i, 3], 0.0), 1.0)
            still = (1 - smooth(values[j, i, MOVED], *STILL)) * around[j, i]
            geometric = _turned(before, after, TURN_STRETCH) if shown[j, i] else 0.0
            # What is behind shines through the outline's pixels: they are no skin once they come to the front.
            rising = smooth(after - before, 0.05, 0.2)
            bare = masks[j, i, 0] + rising * (masks[j, i, 1] - masks[j, i, 0])
            seen = geometric * bare * (1 - values[j, i, STRETCHED])
            if trusted.size:
                if trusted[j, i] < 0:
                    still = 0.0
                seen *= max(trusted[j, i], still)
            # A soft edge is one as long as it is the silhouette, or has hardly turned.
            silhouette = (1 - smooth(after, 0.1, 0.5)) * (1 - smooth(after - before, 0.1, 0.3))
            silhouette = max(silhouette, 1 - smooth(abs(after - before), 0.06, 0.12))
            # Where the neck widens to the shoulders, which do not turn, it is only what the photo shows of it.
            low = 1 - smooth(values[j, i, WEIGHT], *SHOULDERED)
            opacity = (1 - around[j, i] * silhouette * (1 - alpha)) * (1 - low * (1 - (alpha if shown[j, i] else 0.0)))
            inside, mirrored = masks[j, i, 2], texture[j, i, 3]
            _put(j, i, pixel, seen, mirrored, inside, values, photo, texture, marks, change, colour, ratio, flat)
            flat[0, pixel], flat[2, pixel], flat[3, pixel] = opacity * cover[j, i], still, 1


@njit(cache=True, nogil=True, error_model="numpy")
def shell_rows(  # type: ignore[no-untyped-def]
    first, last, front, pixels, cover, values, photo, masks, strands, marks, change, colour, ratio, flat
):
    """The shell: the photo on its front, hair from well inside of it on its rim and back.

    Args:
        front: whether it is the shell's front.
        strands: (h, w, 3) colour of hair that goes on from that which the photo shows; changed.
        masks: (h, w, 4) surface, bare, inside and hair, at the places of the photo that the pixels show.
        others: as of :func:`skin_rows`.
    """
    for j in range(first, last):
        for i in range(pixels.shape[1]):
            pixel, before, after = pixels[j, i], values[j, i, FACING], values[j, i, FACING + 1]
            alpha, surface = min(max(photo[j, i, 3], 0.0), 1.0), masks[j, i, 0]
            opacity = alpha if front else smooth(alpha, 0.3, 0.7)
            # Hair that turns to the front ends as solid as it is; skin beside the face model has its own soft end.
            rising = smooth(after - before, 0.0, 0.15) * smooth(masks[j, i, 3], 0.0, 0.3)
            opacity += rising * (values[j, i, SOLID] - opacity)
            # Skin seen from its edge is none, unless the photo shows it from there as well.
            edge = (1 - smooth(after, 0.05, 0.3)) * smooth(before - after, 0.0, 0.1)
            opacity *= (1 - max(values[j, i, PAST], edge) * (1 - masks[j, i, 3])) * cover[j, i]
            if not front:  # the face model has its own other side, and ears stand off
                opacity *= smooth(max(values[j, i, HAIR], masks[j, i, 3]), 0.0, 0.3)
            seen, inside = _turned(before, after, HAIR_STRETCH) * (1 - surface) if front else 0.0, masks[j, i, 2]
            for c in range(3):  # what is no hair has but the photo
                strands[j, i, c] = photo[j, i, c] + values[j, i, HAIR] * (strands[j, i, c] - photo[j, i, c])
            _put(j, i, pixel, seen, 1.0, inside, values, photo, strands, marks, change, colour, ratio, flat)
            flat[0, pixel], flat[3, pixel] = opacity, masks[j, i, 1]
            flat[2, pixel] = 1 - smooth(values[j, i, MOVED], *STILL)


@njit(cache=True, nogil=True, error_model="numpy")
def _spread(place, drawn, y0, x0, y1, x1):  # type: ignore[no-untyped-def]
    """Variance in pixels of the blur that a photo loses between two pixels on both sides of one, see
    :func:`prefilter_rows`; 0 where it loses none, or where the two are not of one surface."""
    if not (drawn[y0, x0] and drawn[y1, x1]):
        return ZERO
    dx, dy = place[y1, x1, 0] - place[y0, x0, 0], place[y1, x1, 1] - place[y0, x0, 1]
    squared = dx * dx + dy * dy
    return BLUR * (ONE - TWICE / squared) if TWICE < squared < FOLDED else ZERO


@njit(cache=True, nogil=True, error_model="numpy")
def prefilter_rows(first, last, place, drawn, still, colour, out):  # type: ignore[no-untyped-def]
    """Makes what is foreshortened as soft as the photo is: there, the lens's blur has shrunk with all that it blurs.

    A blur of variance v, shrunk by a factor c, is brought back by one of v (1 - 1 / c^2), here of three taps across.

    Args:
        place: (H, W, 2) pixels of the photo that are shown.
        drawn: (H, W) bool, where anything is.
        still: (H, W) 0..1, where nothing has moved; there nothing is changed.
        colour: (H, W, 3).
        out: (H, W, 3) result, ``colour`` already.
    """
    height, width = drawn.shape
    for j in range(max(first, 1), min(last, height - 1)):
        for i in range(1, width - 1):
            if drawn[j, i] and still[j, i] < ONE:
                keep = HALF * (ONE - still[j, i])
                across = keep * _spread(place, drawn, j, i - 1, j, i + 1)
                down = keep * _spread(place, drawn, j - 1, i, j + 1, i)
                if across > ZERO or down > ZERO:
                    for c in range(3):
                        own = colour[j, i, c]
                        out[j, i, c] = (
                            own
                            + across * (colour[j, i - 1, c] + colour[j, i + 1, c] - own - own)
                            + down * (colour[j - 1, i, c] + colour[j + 1, i, c] - own - own)
                        )


@njit(cache=True, nogil=True, error_model="numpy")
def mix_rows(first, last, one, opacity, out):  # type: ignore[no-untyped-def]
    """Mixes (H, W, 3) ``one`` into ``out`` where the ``opacity`` (H, W) is that of loose hair."""
    for j in range(first, last):
        for i in range(opacity.shape[1]):
            if opacity[j, i] >= 1:
                continue
            keep = np.float32(smooth(opacity[j, i], *SOLIDITY))
            for c in range(3):
                out[j, i, c] = one[j, i, c] + keep * (out[j, i, c] - one[j, i, c])


@njit(cache=True, nogil=True, error_model="numpy")
def sum_rows(first, last, values, weights, total):  # type: ignore[no-untyped-def]
    """Sums over the cells of a coarse grid, of which the rows are counted here.

    Args:
        values: (H, W, 3).
        weights: (H, W).
        total: (h, w, 4) results: sums of the weighted values, and of the weights.
    """
    height, width = weights.shape
    rows, columns = total.shape[:2]
    total[first:last] = 0
    for row in range(first, last):
        for j in range(-(-row * height // rows), -(-(row + 1) * height // rows)):
            for i in range(width):
                weight = weights[j, i]
                if weight > 0:
                    cell = total[row, i * columns // width]
                    for c in range(3):
                        cell[c] += weight * values[j, i, c]
                    cell[3] += weight


@njit(cache=True, nogil=True, error_model="numpy")
def overlaid_rows(first, last, top, left, alpha, layer_still, layer_source, through, moved, source, found):  # type: ignore[no-untyped-def]
    """Looks past one layer, from the nearest to the farthest.

    Args:
        top, left: the layer's corner on the canvas.
        alpha, layer_still: (h, w) of the layer.
        layer_source: (h, w, 2) where in the photo the layer is from; (0, 0, 2) where it stays.
        through: (H, W) share of what lies behind that is seen; changed.
        moved: (H, W) 0..1 what has moved; changed.
        source: (H, W, 2) the pixel of the photo that is seen; changed.
        found: (H, W) bool, whether that is settled; changed.
    """
    for j in range(first, last):
        for i in range(alpha.shape[1]):
            a = alpha[j, i]
            if a <= 0:
                continue
            y, x = top + j, left + i
            moved[y, x] = max(moved[y, x], shows(a * through[y, x]) * (1 - layer_still[j, i]))
            if a > 0.2 and not found[y, x]:
                found[y, x] = True
                if layer_source.size and layer_still[j, i] < 1:
                    source[y, x, 0], source[y, x, 1] = layer_source[j, i, 0], layer_source[j, i, 1]
            through[y, x] *= 1 - a


FRINGE = 0.03, 0.08  # of the canvas' longer side: how far inside and outside of the outline hair is loose
HAIRY = 0.15, 0.45  # share of hair along an outline, from skin's to hair's


@njit(cache=True, nogil=True, error_model="numpy")
def near_rows(first, last, size, away, solid, share, near):  # type: ignore[no-untyped-def]
    """(H, W) 1 close to where hair is the edited outline, 0 far from it, and where the outline is skin.

    Args:
        size: the canvas' longer side.
        away: (H, W) pixels from the outline.
        solid: (H, W) bool, what is drawn.
        share: (H, W) of hair along the outline.
        near: (H, W) result.
    """
    for j in range(first, last):
        for i in range(away.shape[1]):
            reach = size * (FRINGE[0] if solid[j, i] else FRINGE[1])
            near[j, i] = 0.0
            if away[j, i] < reach:
                near[j, i] = (1 - smooth(away[j, i] / reach, 0.5, 1.0)) * smooth(share[j, i], *HAIRY)


@njit(cache=True, nogil=True, error_model="numpy")
def soften_rows(first, last, opacity, near, shift, head, loose, static, gone, alpha, moved, colour):  # type: ignore[no-untyped-def]
    """The outline's softness, the colour of loose hair there, and what of it moves.

    Args:
        opacity: (H, W) of all layers.
        near: (H, W) 0..1, how close a pixel is to an outline of hair.
        shift: (H, W, 2) pixels from each pixel to its place of the photo's outline.
        head: (H, W, 4) of the photo: colour and opacity of the head.
        loose: (H, W, 1) of the photo, 0..1: how loose hair may be; skin has none.
        static: (H, W) opacity of what stays.
        gone: (H, W) 0..1, where the photo shows something that is not there any more.
        alpha: (H, W) result.
        moved: (H, W) 0..1; changed.
        colour: (H, W, 3) result: of the hair at the places of the photo's outline; 0 where the layers hide it.
    """
    found, share = np.empty(4, np.float32), np.empty(1, np.float32)
    for j in range(first, last):
        for i in range(opacity.shape[1]):
            a = opacity[j, i]
            alpha[j, i], colour[j, i] = a, 0.0
            close = near[j, i]
            if close > 0 or 0 < a < 1:
                x, y = i + 0.5 + shift[j, i, 0], j + 0.5 + shift[j, i, 1]
                look_up(head, x, y, found)
                for c in range(3):
                    colour[j, i, c] = found[c]
                if close > 0:
                    look_up(loose, x, y, share)
                    # Strands that the photo's border cuts end there; below it, hair goes on.
                    beyond = max(-x, x - opacity.shape[1], -y) / opacity.shape[1]
                    strands = found[3] * (1 - smooth(beyond, 0.0, CUT))
                    alpha[j, i] = a + close * share[0] * (max(strands, static[j, i]) - a)
            if a < 1 and (alpha[j, i] > 0 or gone[j, i] > 0):
                open_ = 1 - smooth(a, *SOLIDITY)
                away = smooth(max(abs(shift[j, i, 0]), abs(shift[j, i, 1])), *STILL) * shows(alpha[j, i])
                moved[j, i] = max(moved[j, i], open_ * max(gone[j, i], away))


@njit(cache=True, nogil=True, error_model="numpy")
def paint_rows(first, last, top, left, layer_colour, alpha, coverage, layer_ratio, colour, ratio, seen, known):  # type: ignore[no-untyped-def]
    """Lays one layer over what is painted, from the farthest to the nearest.

    Args:
        top, left: the layer's corner on the canvas.
        layer_colour, alpha, coverage, layer_ratio: (h, w, ...) of the layer; a ratio of (0, 0, 3) is 1.
        colour, ratio: (H, W, 3) of what is painted; changed.
        seen, known: (H, W) its coverage, and 1 where that is known; changed.
    """
    for j in range(first, last):
        for i in range(alpha.shape[1]):
            a = alpha[j, i]
            if a <= 0:
                continue
            y, x = top + j, left + i
            for c in range(3):
                colour[y, x, c] += a * (layer_colour[j, i, c] - colour[y, x, c])
                k = layer_ratio[j, i, c] if layer_ratio.size else np.float32(1)
                ratio[y, x, c] += a * (k - ratio[y, x, c])
            seen[y, x] += a * (coverage[j, i] - seen[y, x])
            known[y, x] += a * ((1.0 if coverage[j, i] > KNOWN else 0.0) - known[y, x])


@njit(cache=True, nogil=True, error_model="numpy")
def finish_rows(  # type: ignore[no-untyped-def]
    first,
    last,
    plate,
    photo,
    colour,
    alpha,
    moved,
    ratio,
    seen,
    known,
    person,
    inside,
    final,
    appearance,
    coverage,
    mask,
):
    """What is painted over the background, in its new light; whatever has not moved is the photo itself.

    Args:
        plate, photo: (H, W, 3) the background, and the photo.
        colour, alpha, ratio: (H, W, ...) of what is painted.
        moved: (H, W) 0..1.
        seen, known: (H, W) coverage of what is painted, and 1 where that is known.
        person, inside: (H, W) 0..1 of the photo.
        final, appearance: (H, W, 3) uint8 results.
        coverage, mask: (H, W) results.
    """
    colours, lit = np.empty(3, np.float32), np.empty(3, np.float32)
    for j in range(first, last):
        for i in range(alpha.shape[1]):
            a, still = alpha[j, i], ONE - moved[j, i]
            kr, kg, kb = ratio[j, i, 0], ratio[j, i, 1], ratio[j, i, 2]
            touched = still < ONE or (a > ZERO and not same_light(kr, kg, kb))
            if touched:
                for c in range(3):
                    # Where the layer has not moved it has the photo's own colour.
                    here = plate[j, i, c] + a * (colour[j, i, c] - plate[j, i, c])
                    colours[c] = min(max(colour[j, i, c] + a * still * (photo[j, i, c] - here), ZERO), FULL)
                lit[0], lit[1], lit[2] = _lit(colours[0], colours[1], colours[2], kr, kg, kb)
            background = inside[j, i] if person[j, i] < VISIBLE else ZERO
            unmoved = still * inside[j, i]
            coverage[j, i] = min(max(background + a * (seen[j, i] - background), unmoved, ZERO), ONE)
            told = max(background + a * (known[j, i] - background), unmoved)
            changed = ZERO
            # New light falls on the person: where nothing has moved, on as much of it as the photo shows.
            lighted = a + still * (person[j, i] - a)
            for c in range(3):
                value = photo[j, i, c]
                if touched:
                    here = plate[j, i, c] + a * (colours[c] - plate[j, i, c])
                    value = here + lighted * (lit[c] - colours[c]) + still * (photo[j, i, c] - here)
                    changed = max(changed, abs(value - photo[j, i, c]))
                final[j, i, c] = np.uint8(min(max(np.rint(value), ZERO), FULL))
                appearance[j, i, c] = np.uint8(min(max(np.rint(GREY + told * (value - GREY)), ZERO), FULL))
            mask[j, i] = 1 if moved[j, i] > 0 or changed > 0.5 else 0


@njit(cache=True, nogil=True, error_model="numpy")
def apart_rows(first, last, source, far, apart):  # type: ignore[no-untyped-def]
    """Where neighbours come from places in the photo that do not lie beside each other.

    Args:
        source: (H, W, 2) x, y of where pixels come from.
        far: pixels from which on they lie apart.
        apart: (H, W) uint8 results, 1 there.
    """
    height, width = apart.shape
    for j in range(first, last):
        for i in range(width):
            x, y = source[j, i]
            found = False
            for other_j, other_i in ((j - 1, i), (j + 1, i), (j, i - 1), (j, i + 1)):
                if 0 <= other_j < height and 0 <= other_i < width:
                    other_x, other_y = source[other_j, other_i]
                    found = found or max(abs(other_x - x), abs(other_y - y)) > far
            apart[j, i] = found
