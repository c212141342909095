"""Draws networks: a table of operations, each with what it can be done to."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .network import Line, Network, runs

Shapes = tuple[int, ...]
_Draw = Callable[[random.Random, Shapes], Line | None]


@dataclass(frozen=True)
class Operation:
    """Of one value.

    Attributes:
        draw: a line that reads value 0 of this shape; None where it can't.
        weight: how often it is drawn.
    """

    draw: _Draw
    weight: float = 1.0


def _spelled(**chosen: object) -> str:
    return "".join(f", {name}={value!r}" for name, value in chosen.items())


def _conv2d(rng: random.Random, shape: Shapes) -> Line | None:
    if len(shape) != 4:
        return None
    channels = shape[1]
    kernel = rng.choice(["1", "1", "3", "3", "3", "5", "(1, 3)", "(3, 1)"])
    out = rng.choice([2, 4, 8, 12, 3])
    groups = 1
    if rng.random() < 0.3:
        groups = channels
        out = channels * rng.choice([1, 1, 1, 2])
    elif channels % 2 == 0 and rng.random() < 0.15:
        groups, out = 2, out + out % 2
    wide = int(kernel) if kernel.isdigit() else 3
    chosen: dict[str, object] = {
        "stride": rng.choice([1, 1, 1, 2]),
        "padding": rng.choice([0, "same", wide // 2, wide // 2, 1]),
        "dilation": rng.choice([1, 1, 1, 1, 2]),
        "groups": groups,
        "bias": rng.random() < 0.8,
    }
    if chosen["padding"] == "same":
        chosen["stride"] = 1
    return Line("{m}({0})", (0,), f"nn.Conv2d({channels}, {out}, {kernel}{_spelled(**chosen)})", _scaled(rng))


def _scaled(rng: random.Random) -> tuple[str, ...]:
    """Seldom, weights of bad scale."""
    bad = ["{m}.weight.data[0] *= 1000", "{m}.weight.data *= 1e-3", "{m}.weight.data[-1] = 0", "{m}.weight.data *= 30"]
    return (rng.choice(bad),) if rng.random() < 0.05 else ()


def _conv1d(rng: random.Random, shape: Shapes) -> Line | None:
    if len(shape) != 3:
        return None
    kernel, out = rng.choice([1, 3, 5]), rng.choice([2, 4, 8])
    groups = shape[1] if rng.random() < 0.25 else 1
    chosen = {"padding": rng.choice([0, kernel // 2]), "stride": rng.choice([1, 1, 2]), "groups": groups}
    out = shape[1] if groups > 1 else out
    return Line("{m}({0})", (0,), f"nn.Conv1d({shape[1]}, {out}, {kernel}{_spelled(**chosen)})", _scaled(rng))


def _transposed(rng: random.Random, shape: Shapes) -> Line | None:
    if len(shape) != 4 or shape[2] > 12:
        return None
    kernel = rng.choice([2, 3, 4])
    chosen = {"stride": rng.choice([1, 2, 2]), "padding": rng.choice([0, 1]), "bias": rng.random() < 0.7}
    if chosen["stride"] == 2 and rng.random() < 0.2:
        chosen["output_padding"] = 1
    made = f"nn.ConvTranspose2d({shape[1]}, {rng.choice([2, 4, 6])}, {kernel}{_spelled(**chosen)})"
    return Line("{m}({0})", (0,), made, _scaled(rng))


def _linear(rng: random.Random, shape: Shapes) -> Line | None:
    if not shape:
        return None
    made = f"nn.Linear({shape[-1]}, {rng.choice([3, 4, 8, 16])}, bias={rng.random() < 0.8})"
    return Line("{m}({0})", (0,), made, _scaled(rng))


def _batch_norm(rng: random.Random, shape: Shapes) -> Line | None:
    dimensions = {2: 1, 3: 1, 4: 2}.get(len(shape))
    if dimensions is None:
        return None
    after = ("{m}.running_mean.uniform_(-0.5, 0.5)", "{m}.running_var.uniform_(0.5, 2)")
    return Line("{m}({0})", (0,), f"nn.BatchNorm{dimensions}d({shape[1]})", after)


def _layer_norm(rng: random.Random, shape: Shapes) -> Line | None:
    if len(shape) < 2:
        return None
    return Line("{m}({0})", (0,), f"nn.LayerNorm({shape[-1]})")


def _group_norm(rng: random.Random, shape: Shapes) -> Line | None:
    if len(shape) < 3 or shape[1] % 2:
        return None
    return Line("{m}({0})", (0,), rng.choice([f"nn.GroupNorm(2, {shape[1]})", f"nn.InstanceNorm{len(shape) - 2}d(4)"]))


_ACTIVATIONS = (
    *("torch.relu({0})",) * 5,
    *("F.relu6({0})", "F.hardswish({0})", "F.silu({0})", "torch.sigmoid({0})", "torch.tanh({0})") * 2,
    *("F.hardtanh({0}, -0.5, 0.5)", "F.leaky_relu({0}, 0.1)", "F.hardsigmoid({0})", "F.elu({0})"),
    *("F.gelu({0})", "F.gelu({0}, approximate='tanh')"),
    *(
        "{0}.clamp(min=0.1)",
        "{0}.clamp(-0.3, 0.8)",
        "F.softplus({0})",
        "F.mish({0})",
        "F.gelu({0}, approximate='tanh')",
    ),
    *("{0}.abs()", "-{0}", "torch.exp({0}.clamp(-3, 3))", "torch.rsqrt({0}.abs() + 0.5)", "torch.square({0})"),
    *("F.softmax({0}, -1)", "F.log_softmax({0}, -1)", "torch.sqrt({0}.abs() + 0.1)", "torch.erf({0})", "{0}.sin()"),
)


def _activation(rng: random.Random, shape: Shapes) -> Line | None:
    return Line(rng.choice(_ACTIVATIONS), (0,)) if shape else None


def _prelu(rng: random.Random, shape: Shapes) -> Line | None:
    return Line("{m}({0})", (0,), f"nn.PReLU({shape[1]})") if len(shape) in (3, 4) else None


def _scalar(rng: random.Random, shape: Shapes) -> Line | None:
    number = rng.choice([0.5, 2, -1, 0.1, 3, 1.5])
    form = rng.choice(["{0} * %s", "{0} + %s", "{0} - %s", "%s - {0}", "{0} / %s"])
    return Line(form % number, (0,))


def _constant(rng: random.Random, shape: Shapes) -> Line | None:
    if len(shape) < 2:
        return None
    of = [1, shape[1]] + [1] * (len(shape) - 2) if rng.random() < 0.5 else [1, *shape[1:]]
    return Line(rng.choice(["{0} * {m}", "{0} + {m}"]), (0,), f"nn.Parameter(torch.randn({of}))")


def _pool(rng: random.Random, shape: Shapes) -> Line | None:
    if len(shape) != 4:
        return None
    kernel = rng.choice([2, 2, 3])
    stride, padding = rng.choice([1, 2, kernel]), rng.choice([0, 0, kernel // 2])
    rest = rng.choice(["", "", ", ceil_mode=True"])
    forms = [
        f"F.max_pool2d({{0}}, {kernel}, {stride}, {padding}{rest})",
        f"F.avg_pool2d({{0}}, {kernel}, {stride}, {padding}{rest}, count_include_pad={rng.random() < 0.5})",
        f"F.adaptive_avg_pool2d({{0}}, {rng.choice([1, 1, 2])})",
        f"F.adaptive_max_pool2d({{0}}, {rng.choice([1, 2])})",
    ]
    return Line(rng.choice(forms), (0,))


def _reduce(rng: random.Random, shape: Shapes) -> Line | None:
    if len(shape) < 2:
        return None
    over = rng.choice([(-1,), tuple(range(2, len(shape))) or (-1,), (1,)])
    kept = rng.random() < 0.6
    form = rng.choice(["mean", "mean", "sum", "amax", "amin"])
    return Line(f"{{0}}.{form}({over!r}, keepdim={kept})", (0,))


def _upsample(rng: random.Random, shape: Shapes) -> Line | None:
    if len(shape) != 4 or shape[2] > 8:
        return None
    mode = rng.choice(["mode='nearest'", "mode='bilinear'", "mode='bilinear', align_corners=True"])
    return Line(f"F.interpolate({{0}}, scale_factor=2, {mode})", (0,))


def _moved(rng: random.Random, shape: Shapes) -> Line | None:
    if len(shape) < 2:
        return None
    rest = list(range(1, len(shape)))
    rng.shuffle(rest)
    forms = [
        f"{{0}}.permute(0, {', '.join(map(str, rest))})",
        "{0}.flatten(1)",
        "{0}.unsqueeze(1)",
        f"{{0}}.reshape(1, {shape[1]}, -1)",
        "{0}[:, 1:]" if shape[1] > 1 else "{0}.squeeze(1)",
        "{0}[..., ::2]",
        "{0}[:, :1]",
        "{0}.flip(-1)",
        f"{{0}}.roll(1, {len(shape) - 1})",
        "{0}.chunk(2, 1)[1]" if shape[1] > 1 else "{0}.clone()",
        "torch.cat({0}.split(1, 1), -1)",
        "{0}.repeat(1, 2" + ", 1" * (len(shape) - 2) + ")",
    ]
    if len(shape) == 4:
        forms += [
            "F.pad({0}, (1, 0, 0, 1))",
            "F.pad({0}, (1, 1, 1, 1), value=0.5)",
            "F.pad({0}, (1, 1), mode='reflect')",
        ]
        if shape[1] % 4 == 0:
            forms += ["F.pixel_shuffle({0}, 2)", "F.channel_shuffle({0}, 2)"]
        if shape[2] % 2 == 0 and shape[3] % 2 == 0:
            forms += ["F.pixel_unshuffle({0}, 2)"]
    return Line(rng.choice(forms), (0,))


def _conv3d(rng: random.Random, shape: Shapes) -> Line | None:
    if len(shape) != 5:
        return None
    kernel, out = rng.choice(["1", "3", "(1, 3, 3)"]), rng.choice([2, 4])
    return Line("{m}({0})", (0,), f"nn.Conv3d({shape[1]}, {out}, {kernel}, padding={rng.choice([0, 1])})", _scaled(rng))


def _twice(rng: random.Random, shape: Shapes) -> Line | None:
    """Weights that two operators share."""
    if len(shape) == 4:
        return Line("{m}(torch.relu({m}({0})))", (0,), f"nn.Conv2d({shape[1]}, {shape[1]}, 3, padding=1)")
    return Line("{m}({m}({0}))", (0,), f"nn.Linear({shape[-1]}, {shape[-1]})") if shape else None


def _branch(rng: random.Random, shape: Shapes) -> Line | None:
    taken = rng.choice(["a * 2", "torch.relu(a)", "a - 1"])
    return Line(f"torch.cond({{0}}.sum() > 0, lambda a: {taken}, lambda a: -a, ({{0}},))", (0,))


def _recurrent(rng: random.Random, shape: Shapes) -> Line | None:
    if len(shape) != 3 or shape[1] > 4:
        return None
    return Line("{m}({0})[0]", (0,), f"nn.{rng.choice(['LSTM', 'GRU'])}({shape[2]}, 4, batch_first=True)")


def _attention(rng: random.Random, shape: Shapes) -> Line | None:
    if len(shape) != 3 or shape[2] % 2:
        return None
    return Line("F.scaled_dot_product_attention({0}, {0}, {0})", (0,))


OPERATIONS: dict[str, Operation] = {
    "conv2d": Operation(_conv2d, 5),
    "conv1d": Operation(_conv1d, 3),
    "transposed": Operation(_transposed, 0.6),
    "linear": Operation(_linear, 1.5),
    "batch norm": Operation(_batch_norm, 1),
    "layer norm": Operation(_layer_norm, 0.4),
    "group norm": Operation(_group_norm, 0.3),
    "activation": Operation(_activation, 4),
    "prelu": Operation(_prelu, 0.4),
    "scalar": Operation(_scalar, 0.8),
    "constant": Operation(_constant, 0.6),
    "pool": Operation(_pool, 1.2),
    "reduce": Operation(_reduce, 0.7),
    "upsample": Operation(_upsample, 0.5),
    "moved": Operation(_moved, 2),
    "conv3d": Operation(_conv3d, 3),
    "twice": Operation(_twice, 0.3),
    "branch": Operation(_branch, 0.05),
    "recurrent": Operation(_recurrent, 0.2),
    "attention": Operation(_attention, 0.4),
}

_JOINED = ("{0} + {1}", "{0} + {1}", "{0} * {1}", "{0} - {1}", "torch.maximum({0}, {1})", "torch.minimum({0}, {1})")


def _joined(rng: random.Random, shapes: list[Shapes]) -> Line | None:
    """A line that reads two values."""
    one = rng.randrange(len(shapes))
    others = [index for index, shape in enumerate(shapes) if shape == shapes[one]]
    other = rng.choice(others)
    draw = rng.random()
    if draw < 0.08:
        broadcast = [index for index, shape in enumerate(shapes) if _broadcasts(shape, shapes[one])]
        return Line(rng.choice(_JOINED), (one, rng.choice(broadcast)))
    if draw < 0.45:
        return Line(rng.choice(_JOINED), (one, other))
    if draw < 0.75:
        dimension = rng.choice([1, -1])
        near = [index for index, shape in enumerate(shapes) if _differ_there_only(shape, shapes[one], dimension)]
        return Line(f"torch.cat([{{0}}, {{1}}], {dimension})", (one, rng.choice(near))) if near else None
    if draw < 0.8:
        return Line("torch.stack([{0}, {1}], 1)", (one, other)) if len(shapes[one]) < 4 else None
    if draw < 0.87:
        return Line("torch.where({0} > {1}, {0}, {1} * 0.5)", (one, other))
    fits = [
        index
        for index, shape in enumerate(shapes)
        if len(shape) == len(shapes[one]) >= 3 and shape[-2] == shapes[one][-1] and shape[:-2] == shapes[one][:-2]
    ]
    return Line("torch.matmul({0}, {1})", (one, rng.choice(fits))) if fits else None


def _broadcasts(one: Shapes, other: Shapes) -> bool:
    return all(first in (1, second) for first, second in zip(one[::-1], other[::-1], strict=False))


def _differ_there_only(one: Shapes, other: Shapes, dimension: int) -> bool:
    if len(one) != len(other) or len(one) < 2:
        return False
    there = dimension % len(one)
    return one[:there] + one[there + 1 :] == other[:there] + other[there + 1 :]


_IMAGES: tuple[Shapes, ...] = ((1, 3, 8, 8), (1, 1, 12, 12), (1, 4, 6, 10), (1, 8, 7, 7))
_SEVERAL: tuple[Shapes, ...] = ((2, 3, 6, 6), (3, 8), (2, 4, 8))
_INPUTS: tuple[Shapes, ...] = (*_IMAGES * 2, (1, 4, 16), (1, 16), (1, 3, 8), *_SEVERAL, (1, 2, 3, 6, 6))
_SMALL: tuple[Shapes, ...] = ((), (1,), (4,), (1, 1))
_LARGEST = 4096


def draw(seed: int) -> Network:
    """The network of a seed."""
    rng = random.Random(seed)
    inputs = [rng.choice(_INPUTS)]
    if rng.random() < 0.25:
        inputs.append(rng.choice([inputs[0], rng.choice(_INPUTS), rng.choice(_SMALL)]))
    network = Network(seed, tuple(inputs), rng.choice([1.0, 1.0, 1.0, 0.1, 5.0]), (), (0,))
    shapes = list(inputs)
    wanted = rng.choice([3, 4, 6, 8, 10, 12, 14])
    for _ in range(wanted * 6):
        if len(network.lines) == wanted:
            break
        line = _drawn(rng, shapes)
        if line is None:
            continue
        value = len(shapes)
        longer = Network(seed, network.inputs, network.scale, (*network.lines, line), (value,))
        given = runs(longer)
        if given is None or not _small(given[0]):
            continue
        network = longer
        shapes.append(tuple(given[0].shape))
    ends = [len(shapes) - 1]
    while rng.random() < 0.3:
        ends.append(rng.randrange(len(shapes)))
        rng.shuffle(ends)
    integers, channels_last = rng.random() < 0.15, rng.random() < 0.2
    return dataclasses.replace(network, outputs=tuple(ends), integers=integers, channels_last=channels_last).used()


def _small(value: Tensor) -> bool:
    return value.dtype == torch.float32 and value.numel() <= _LARGEST and float(value.abs().max()) < 1e4


def _drawn(rng: random.Random, shapes: list[Shapes]) -> Line | None:
    if len(shapes) > 1 and rng.random() < 0.25:
        return _joined(rng, shapes)
    # Mostly what came last, so that networks are deep.
    at = len(shapes) - 1 if rng.random() < 0.75 else rng.randrange(len(shapes))
    (name,) = rng.choices(list(OPERATIONS), [each.weight for each in OPERATIONS.values()])
    line = OPERATIONS[name].draw(rng, shapes[at])
    return None if line is None else Line(line.expression, (at,), line.module, line.after)
