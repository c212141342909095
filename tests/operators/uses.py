"""One row for each use of an operator. Data; what it means is in table.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Inputs. A sum goes before the operator, so the values double there.
IMAGE = "torch.randn(1, 4, 8, 8)"
ROWS = "torch.randn(1, 6, 8)"
VECTOR = "torch.randn(1, 16)"
POSITIVE = "torch.rand(1, 4, 8, 8) + 0.1"
INNER = "torch.rand(1, 4, 8, 8) * 0.9 - 0.45"
INTEGERS = "torch.randint(1, 9, (1, 4, 8, 8), dtype=torch.int32)"
TRUTHS = "torch.rand(1, 4, 8, 8) > 0.5"


@dataclass(frozen=True)
class Use:
    """How an operator is used.

    Attributes:
        operator: that torch.export captures.
        code: of `forward`: of x, y and z, the inputs, and m, the module.
        inputs: what makes each.
        module: what makes the module; empty for none.
        after: what is done to the module then.
        instead: code of another row, or of several, that can take its place; those that a target takes are told.
        about: what tells it from another row with the same code.
    """

    operator: str
    code: str
    inputs: tuple[str, ...] = (IMAGE,)
    module: str = ""
    after: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    about: str = ""


def _layer(operator: str, module: str, *inputs: str, code: str = "m(x)", instead: Sequence[str] = ()) -> Use:
    return Use(operator, code, inputs or (IMAGE,), module, instead=tuple(instead))


def _each(inputs: tuple[str, ...], **codes: str) -> tuple[Use, ...]:
    """Operators of one overload, `default`, by name."""
    return tuple(Use(f"aten.{name}.default", code, inputs) for name, code in codes.items())


_CONV_ROW = "nn.Conv2d(6, 8, (1, 3))(x) [over height 1]"
_LOG_SIGMOID = "x.clamp(max=0.0) - torch.log1p(torch.exp(-x.abs()))"
_CONV_1 = "nn.Conv1d(6, 8, 3, padding=1)(x)"
_SOFTPLUS = "torch.relu(x) + torch.log1p(torch.exp(-x.abs()))"
_RMS_NORM = "x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5)"
_TANH_GELU = "F.gelu(x, approximate='tanh')"
_STATISTICS = ("{m}.running_mean.uniform_(-0.5, 0.5)", "{m}.running_var.uniform_(0.5, 2)")

_LAYERS = (
    _layer("aten.conv2d.default", "nn.Conv2d(4, 8, 3)"),
    _layer("aten.conv2d.default", "nn.Conv2d(4, 8, 3, padding=1)"),
    _layer("aten.conv2d.default", "nn.Conv2d(4, 8, 3, stride=2, dilation=2, padding=2)"),
    _layer("aten.conv2d.default", "nn.Conv2d(4, 8, 3, groups=2)"),
    _layer("aten.conv2d.default", "nn.Conv2d(4, 4, 3, groups=4)"),
    Use("aten.conv2d.default", "m(x)", ("torch.randn(1, 6, 1, 8)",), "nn.Conv2d(6, 8, (1, 3))", about="over height 1"),
    _layer("aten.conv2d.padding", "nn.Conv2d(4, 8, 3, padding='same')", instead=["nn.Conv2d(4, 8, 3, padding=1)(x)"]),
    _layer("aten.conv1d.default", "nn.Conv1d(6, 8, 3)", ROWS, instead=[_CONV_ROW]),
    _layer("aten.conv1d.default", "nn.Conv1d(6, 8, 3, padding=1)", ROWS, instead=[_CONV_ROW]),
    _layer("aten.conv1d.padding", "nn.Conv1d(6, 8, 3, padding='same')", ROWS, instead=[_CONV_1, _CONV_ROW]),
    _layer("aten.conv3d.default", "nn.Conv3d(2, 4, 3)", "torch.randn(1, 2, 5, 6, 6)"),
    _layer("aten.conv3d.padding", "nn.Conv3d(2, 4, 3, padding='same')", "torch.randn(1, 2, 5, 6, 6)"),
    _layer("aten.conv_transpose2d.input", "nn.ConvTranspose2d(4, 4, 2, stride=2)"),
    _layer("aten.conv_transpose2d.input", "nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1)"),
    _layer("aten.linear.default", "nn.Linear(16, 8)", VECTOR),
    _layer("aten.linear.default", "nn.Linear(8, 4)", ROWS),
    Use(
        "aten.addmm.default", "torch.addmm(y, x, m)", (VECTOR, "torch.randn(1, 8)"), "nn.Parameter(torch.randn(16, 8))"
    ),
    Use("aten.batch_norm.default", "m(x)", (IMAGE,), "nn.BatchNorm2d(4)", _STATISTICS),
    _layer("aten.layer_norm.default", "nn.LayerNorm(8)"),
    _layer("aten.group_norm.default", "nn.GroupNorm(2, 4)"),
    _layer("aten.group_norm.default", "nn.GroupNorm(4, 4)"),
    _layer("aten.instance_norm.default", "nn.InstanceNorm2d(4)", instead=["nn.GroupNorm(4, 4)(x)"]),
    Use("aten.rms_norm.default", "F.rms_norm(x, (8,))", instead=(_RMS_NORM,)),
    Use("aten.rsqrt.default", _RMS_NORM),
    _layer("aten.lstm.input", "nn.LSTM(8, 4, batch_first=True)", "torch.randn(1, 2, 8)", code="m(x)[0]"),
    _layer("aten.gru.input", "nn.GRU(8, 4, batch_first=True)", "torch.randn(1, 2, 8)", code="m(x)[0]"),
    Use("aten.scaled_dot_product_attention.default", "F.scaled_dot_product_attention(x, x, x)", (ROWS,)),
    Use("aten.embedding.default", "m(x)", ("torch.randint(0, 5, (1, 4))",), "nn.Embedding(5, 8)"),
    _layer("aten.prelu.default", "nn.PReLU(4)"),
    _layer("aten.dropout.default", "nn.Dropout(0.1)"),
)

_ACTIVATIONS = (
    *_each(
        (IMAGE,),
        relu="torch.relu(x)",
        hardtanh="F.hardtanh(x)",
        hardswish="F.hardswish(x)",
        hardsigmoid="F.hardsigmoid(x)",
        leaky_relu="F.leaky_relu(x, 0.1)",
        elu="F.elu(x)",
        selu="F.selu(x)",
        celu="F.celu(x)",
        silu="F.silu(x)",
        sigmoid="torch.sigmoid(x)",
        tanh="torch.tanh(x)",
        glu="F.glu(x, 1)",
    ),
    Use("aten.relu6.default", "F.relu6(x)", instead=("F.hardtanh(x, 0.0, 6.0)",)),
    Use("aten.hardtanh.default", "F.hardtanh(x, 0.0, 6.0)"),
    _layer("aten.hardtanh.default", "nn.ReLU6()"),
    Use("aten.softplus.default", "F.softplus(x)", instead=(_SOFTPLUS,)),
    Use("aten.log1p.default", _SOFTPLUS),
    Use("aten.mish.default", "F.mish(x)", instead=(f"x * torch.tanh({_SOFTPLUS})",)),
    Use("aten.tanh.default", f"x * torch.tanh({_SOFTPLUS})"),
    Use("aten.log_sigmoid.default", "F.logsigmoid(x)", instead=(_LOG_SIGMOID,)),
    Use("aten.log1p.default", _LOG_SIGMOID),
    Use("aten.gelu.default", "F.gelu(x)", instead=(_TANH_GELU,)),
    Use("aten.gelu.default", _TANH_GELU),
    Use("aten.softmax.int", "F.softmax(x, -1)"),
    Use("aten.softmax.int", "F.softmax(x, 1)", instead=("F.softmax(x, -1)",)),
    Use("aten.log_softmax.int", "F.log_softmax(x, -1)"),
)

_TRUNC = "torch.floor(torch.relu(x)) - torch.floor(torch.relu(-x))"
_OF_ONE = (
    *_each(
        (IMAGE,),
        abs="x.abs()",
        neg="-x",
        ceil="torch.ceil(x)",
        floor="torch.floor(x)",
        exp="torch.exp(x)",
        expm1="torch.expm1(x)",
        sin="torch.sin(x)",
        cos="torch.cos(x)",
        sinh="torch.sinh(x)",
        cosh="torch.cosh(x)",
        atan="torch.atan(x)",
        asinh="torch.asinh(x)",
        isnan="torch.isnan(x)",
        isinf="torch.isinf(x)",
    ),
    Use("aten.neg.default", "-torch.relu(-x)", instead=("x.clamp(max=0.0)",)),
    Use("aten.clamp.default", "x.clamp(max=0.0)"),
    Use("aten.sign.default", "torch.sign(x)", instead=("torch.tanh(50 * x) [nearly -1 or 1]",)),
    Use("aten.tanh.default", "torch.tanh(50 * x)", about="nearly -1 or 1"),
    Use("aten.square.default", "torch.square(x)", instead=("x * x",)),
    Use("aten.mul.Tensor", "x * x"),
    Use("aten.trunc.default", "torch.trunc(x)", instead=(_TRUNC,)),
    Use("aten.floor.default", _TRUNC),
    Use("aten.round.default", "torch.round(x)", instead=("torch.floor(x + 0.5)",)),
    Use("aten.floor.default", "torch.floor(x + 0.5)"),
    Use("aten.erf.default", "torch.erf(x)", instead=("torch.tanh(1.2 * x) [nearly]",)),
    Use("aten.tanh.default", "torch.tanh(1.2 * x)", about="nearly"),
    *_each(
        (POSITIVE,),
        log="torch.log(x)",
        log10="torch.log10(x)",
        log1p="torch.log1p(x)",
        sqrt="torch.sqrt(x)",
        rsqrt="torch.rsqrt(x)",
        reciprocal="torch.reciprocal(x)",
    ),
    Use("aten.log2.default", "torch.log2(x)", (POSITIVE,), instead=("torch.log(x) * 1.4427",)),
    Use("aten.log.default", "torch.log(x) * 1.4427", (POSITIVE,)),
    Use("aten.acosh.default", "torch.acosh(x)", (f"{POSITIVE} + 0.5",)),
    *_each(
        (INNER,),
        acos="torch.acos(x)",
        asin="torch.asin(x)",
        atanh="torch.atanh(x)",
        erfinv="torch.erfinv(x)",
        tan="torch.tan(x)",
    ),
    Use("aten.logit.default", "torch.logit(x)", ("torch.rand(1, 4, 8, 8) * 0.4 + 0.05",)),
)

_CHOICE = "z * x + (1 - z) * y [z of floats, 0 or 1]"
_FILL = "y * 0.5 + (1 - y) * x [y of floats, 0 or 1]"
_OF_TWO = (
    Use("aten.add.Tensor", "x + y", (IMAGE, IMAGE)),
    Use("aten.add.Tensor", "x + 0.5"),
    Use("aten.add.Tensor", "x + y", (IMAGE, "torch.randn(1, 4, 1, 1)"), about="y of 1x4x1x1"),
    Use("aten.add.Tensor", "x + m", (IMAGE,), "nn.Parameter(torch.randn(1, 4, 1, 1))"),
    Use("aten.sub.Tensor", "x - y", (IMAGE, IMAGE)),
    Use("aten.rsub.Scalar", "torch.rsub(x, 1.0)"),
    Use("aten.mul.Tensor", "x * y", (IMAGE, IMAGE)),
    Use("aten.mul.Tensor", "x * 0.3"),
    Use("aten.mul.Tensor", "x * m", (IMAGE,), "nn.Parameter(torch.randn(1, 4, 1, 1))"),
    Use("aten.div.Tensor", "x / y", (IMAGE, f"{POSITIVE} + 0.4"), instead=("x * torch.reciprocal(y)",)),
    Use("aten.reciprocal.default", "x * torch.reciprocal(y)", (IMAGE, f"{POSITIVE} + 0.4")),
    Use("aten.div.Tensor", "x / 3.0"),
    Use("aten.div.Tensor_mode", "torch.div(x, 3.0, rounding_mode='floor')", instead=("torch.floor(x / 3.0)",)),
    Use("aten.floor.default", "torch.floor(x / 3.0)"),
    Use("aten.floor_divide.default", "x // 3.0", instead=("torch.floor(x / 3.0)",)),
    Use("aten.remainder.Scalar", "x % 3.0", instead=("x - torch.floor(x / 3.0) * 3.0",)),
    Use("aten.remainder.Tensor", "x % y", (IMAGE, POSITIVE)),
    Use("aten.floor.default", "x - torch.floor(x / 3.0) * 3.0"),
    Use("aten.fmod.Scalar", "torch.fmod(x, 3.0)"),
    Use("aten.pow.Tensor_Scalar", "x ** 2"),
    Use("aten.pow.Tensor_Scalar", "x ** 0.7", (POSITIVE,)),
    Use("aten.pow.Tensor_Tensor", "x ** y", (POSITIVE, INNER), instead=("torch.exp(y * torch.log(x))",)),
    Use("aten.exp.default", "torch.exp(y * torch.log(x))", (POSITIVE, INNER)),
    Use("aten.maximum.default", "torch.maximum(x, y)", (IMAGE, IMAGE)),
    Use("aten.minimum.default", "torch.minimum(x, y)", (IMAGE, IMAGE)),
    Use("aten.atan2.default", "torch.atan2(x, y)", (IMAGE, f"{POSITIVE}"), instead=("torch.atan(x / y) [y above 0]",)),
    Use("aten.atan.default", "torch.atan(x / y)", (IMAGE, POSITIVE), about="y above 0"),
    Use("aten.clamp.default", "x.clamp(-0.5, 1.0)"),
    Use("aten.clamp.default", "x.clamp(min=0.2)"),
    Use("aten.clamp.Tensor", "torch.clamp(x, y, z)", (IMAGE, INNER, f"{INNER} + 1")),
    Use("aten.bmm.default", "torch.bmm(x, y)", (ROWS, "torch.randn(1, 8, 5)")),
    Use("aten.mm.default", "torch.mm(x, y)", ("torch.randn(6, 8)", "torch.randn(8, 5)")),
    Use("aten.matmul.default", "torch.matmul(x, y)", (IMAGE, IMAGE)),
    Use("aten.matmul.default", "x @ m", (IMAGE,), "nn.Parameter(torch.triu(torch.ones(8, 8)))"),
    Use("aten.where.self", "torch.where(x > y, x, y)", (IMAGE, IMAGE), instead=("torch.maximum(x, y)",)),
    Use("aten.where.self", "torch.where(z, x, y)", (IMAGE, IMAGE, TRUTHS), instead=(_CHOICE,)),
    Use("aten.mul.Tensor", "z * x + (1 - z) * y", (IMAGE, IMAGE, f"({TRUTHS}) * 0.5"), about="z of floats, 0 or 1"),
    Use("aten.masked_fill.Scalar", "x.masked_fill(y, 0.5)", (IMAGE, TRUTHS), instead=(_FILL,)),
    Use("aten.mul.Tensor", "y * 0.5 + (1 - y) * x", (IMAGE, f"({TRUTHS}) * 0.5"), about="y of floats, 0 or 1"),
)

# Nearly 0 or 1, by sign.
_STEPS = {
    ">": ("torch.sigmoid(50 * (x - y))", "torch.sigmoid(50 * (x - 0.5))"),
    "<": ("torch.sigmoid(50 * (y - x))", "torch.sigmoid(50 * (0.5 - x))"),
}
_COMPARISONS = (
    *(Use(f"aten.{name}.Tensor", f"x {sign} y", (IMAGE, IMAGE)) for name, sign in (("eq", "=="), ("ne", "!="))),
    *(Use(f"aten.{name}.Scalar", f"x {sign} 0.5") for name, sign in (("eq", "=="), ("ne", "!="))),
    *(
        Use(f"aten.{name}.Tensor", f"x {sign} y", (IMAGE, IMAGE), instead=(f"{_STEPS[sign[0]][0]} [nearly 0 or 1]",))
        for name, sign in (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
    ),
    *(
        Use(f"aten.{name}.Scalar", f"x {sign} 0.5", instead=(f"{_STEPS[sign[0]][1]} [nearly 0 or 1]",))
        for name, sign in (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
    ),
    *(Use("aten.sigmoid.default", code, (IMAGE, IMAGE), about="nearly 0 or 1") for code, _ in _STEPS.values()),
    *(Use("aten.sigmoid.default", code, about="nearly 0 or 1") for _, code in _STEPS.values()),
    *(
        Use(f"aten.logical_{name}.default", f"torch.logical_{name}(x, y)", (TRUTHS, TRUTHS))
        for name in ("and", "or", "xor")
    ),
    Use("aten.logical_not.default", "torch.logical_not(x)", (TRUTHS,)),
    *(
        Use(f"aten.bitwise_{name}.Tensor", f"torch.bitwise_{name}(x, y)", (INTEGERS, INTEGERS))
        for name in ("and", "or", "xor", "left_shift", "right_shift")
    ),
    *(Use(f"aten.bitwise_{name}.Scalar", f"torch.bitwise_{name}(x, 3)", (INTEGERS,)) for name in ("and", "or", "xor")),
    Use("aten.bitwise_not.default", "~x", (INTEGERS,)),
    Use("aten.__lshift__.Scalar", "x << 2", (INTEGERS,)),
    Use("aten.__rshift__.Scalar", "x >> 2", (INTEGERS,)),
    Use("aten.add.Tensor", "x + y", (INTEGERS, INTEGERS), about="int32"),
    Use("aten.mul.Tensor", "x * y", (INTEGERS, INTEGERS), about="int32"),
    Use("aten.any.default", "torch.any(x)", (TRUTHS,)),
    Use("aten.any.dim", "torch.any(x, 1)", (TRUTHS,)),
    Use("aten.any.dims", "torch.any(x, (2, 3))", (TRUTHS,)),
    Use("aten.all.default", "torch.all(x)", (TRUTHS,)),
    Use("aten.all.dim", "torch.all(x, 1)", (TRUTHS,)),
)

_STD = "torch.sqrt(x.var((2, 3), keepdim=True))"
_LOG_SUM = "torch.log(torch.exp(x - x.amax(1, keepdim=True)).sum(1)) + x.amax(1)"
_REDUCED = (
    Use("aten.mean.dim", "x.mean((2, 3), keepdim=True)"),
    Use("aten.mean.dim", "x.mean(1)"),
    Use("aten.mean.default", "x.mean()"),
    Use("aten.sum.dim_IntList", "x.sum(1)"),
    Use("aten.sum.default", "x.sum()"),
    Use("aten.prod.dim_int", "x.prod(1)"),
    Use("aten.var.correction", "x.var((2, 3), correction=1, keepdim=True)"),
    Use("aten.var.dim", "x.var(1)"),
    Use("aten.std.dim", "x.std((2, 3), keepdim=True)", instead=(_STD,)),
    Use("aten.sqrt.default", _STD),
    Use("aten.linalg_vector_norm.default", "torch.linalg.vector_norm(x, dim=1)"),
    Use("aten.logsumexp.default", "torch.logsumexp(x, 1)", instead=(_LOG_SUM,)),
    Use("aten.log.default", _LOG_SUM),
    Use("aten.amax.default", "x.amax(1)"),
    Use("aten.amin.default", "x.amin(1)"),
    Use("aten.max.dim", "x.max(1)[0]", instead=("x.amax(1)",)),
    Use("aten.min.dim", "x.min(1)[0]", instead=("x.amin(1)",)),
    Use("aten.max.default", "x.max()", instead=("x.amax((1, 2, 3))",)),
    Use("aten.amax.default", "x.amax((1, 2, 3))"),
    Use("aten.argmax.default", "x.argmax(1)"),
    Use("aten.argmin.default", "x.argmin(1)", instead=("(-x).argmax(1)",)),
    Use("aten.argmax.default", "(-x).argmax(1)"),
    Use("aten.cumsum.default", "x.cumsum(-1)", instead=("x @ nn.Parameter(torch.triu(torch.ones(8, 8)))",)),
    Use("aten.topk.default", "x.topk(2, 1)[0]"),
    Use("aten.sort.default", "x.sort(1)[0]"),
    Use("aten.cumprod.default", "x.cumprod(-1)"),
)

_MAX_ROW = "F.max_pool2d(x.unsqueeze(2), (1, 2)).squeeze(2)"
_AVERAGE_ROW = "F.avg_pool2d(x.unsqueeze(2), (1, 2)).squeeze(2)"
_NEAREST = "F.interpolate(x, scale_factor=2) [nearest]"
_POOLED = (
    Use("aten.avg_pool2d.default", "F.avg_pool2d(x, 2)"),
    Use("aten.avg_pool2d.default", "F.avg_pool2d(x, 3, 2, 1)"),
    Use("aten.avg_pool2d.default", "F.avg_pool2d(x, 3, 2, ceil_mode=True)"),
    Use("aten.max_pool2d.default", "F.max_pool2d(x, 2)"),
    Use("aten.max_pool2d.default", "F.max_pool2d(x, 3, 2, 1)"),
    Use("aten.max_pool2d.default", "F.max_pool2d(x, 2, 1, dilation=2)"),
    Use(
        "aten.max_pool2d_with_indices.default",
        "F.max_pool2d(x, 2, return_indices=True)[0]",
        instead=("F.max_pool2d(x, 2)",),
    ),
    Use("aten.max_pool1d.default", "F.max_pool1d(x, 2)", (ROWS,), instead=(_MAX_ROW,)),
    Use("aten.max_pool2d.default", _MAX_ROW, (ROWS,)),
    Use("aten.avg_pool1d.default", "F.avg_pool1d(x, 2)", (ROWS,), instead=(_AVERAGE_ROW,)),
    Use("aten.avg_pool2d.default", _AVERAGE_ROW, (ROWS,)),
    Use("aten.adaptive_avg_pool2d.default", "F.adaptive_avg_pool2d(x, 1)", instead=("x.mean((2, 3), keepdim=True)",)),
    Use("aten.adaptive_avg_pool2d.default", "F.adaptive_avg_pool2d(x, 4)", instead=("F.avg_pool2d(x, 2)",)),
    Use("aten.adaptive_avg_pool2d.default", "F.adaptive_avg_pool2d(x, 3)"),
    Use("aten.adaptive_max_pool2d.default", "F.adaptive_max_pool2d(x, 2)", instead=("F.max_pool2d(x, 4)",)),
    Use("aten.max_pool2d.default", "F.max_pool2d(x, 4)"),
    Use("aten.upsample_nearest2d.vec", "F.interpolate(x, scale_factor=2)", about="nearest"),
    Use("aten.upsample_nearest2d.vec", "F.interpolate(x, scale_factor=3)"),
    Use(
        "aten.upsample_bilinear2d.vec",
        "F.interpolate(x, scale_factor=2, mode='bilinear')",
        instead=(_NEAREST,),
    ),
    Use(
        "aten.upsample_bicubic2d.vec",
        "F.interpolate(x, scale_factor=2, mode='bicubic')",
        instead=("F.interpolate(x, scale_factor=2, mode='bilinear')", _NEAREST),
    ),
    Use(
        "aten.grid_sampler.default", "F.grid_sample(x, y, align_corners=False)", (IMAGE, "torch.rand(1, 6, 6, 2) - 0.5")
    ),
)

_SHUFFLE = "x.reshape(1, 2, 2, 8, 8).transpose(1, 2).reshape(1, 4, 8, 8)"
_MOVED = (
    Use("aten.view.default", "x.view(1, 16, 16)"),
    Use("aten.reshape.default", "x.reshape(1, -1)"),
    Use("aten.view_as.default", "x.view_as(x)"),
    Use("aten.flatten.using_ints", "x.flatten(1)"),
    Use("aten.unflatten.int", "x.unflatten(1, (2, 2))"),
    Use("aten.squeeze.dims", "x.squeeze((0,))"),
    Use("aten.squeeze.dim", "x.squeeze(0)"),
    Use("aten.squeeze.default", "x.squeeze()"),
    Use("aten.unsqueeze.default", "x.unsqueeze(1)"),
    Use("aten.permute.default", "x.permute(0, 2, 3, 1)"),
    Use("aten.transpose.int", "x.transpose(1, 2)"),
    Use("aten.t.default", "x.t()", (VECTOR,)),
    Use("aten.movedim.int", "x.movedim(1, 2)"),
    Use("aten.movedim.intlist", "x.movedim((1, 2), (2, 1))"),
    Use("aten.moveaxis.int", "torch.moveaxis(x, 1, 2)"),
    Use("aten.moveaxis.intlist", "torch.moveaxis(x, (1, 2), (2, 1))"),
    Use("aten.expand.default", "x.expand(1, 4, 8, 8)", ("torch.randn(1, 4, 1, 1)",)),
    Use("aten.repeat.default", "x.repeat(1, 2, 1, 1)"),
    Use("aten.repeat_interleave.self_int", "x.repeat_interleave(2, 1)"),
    Use("aten.tile.default", "x.tile(1, 2, 1, 1)"),
    Use("aten.cat.default", "torch.cat([x, y], 1)", (IMAGE, IMAGE)),
    Use("aten.stack.default", "torch.stack([x, y], 1)", (ROWS, ROWS)),
    Use("aten.slice.Tensor", "x[:, 1:3]"),
    Use("aten.slice.Tensor", "x[..., ::2]"),
    Use("aten.select.int", "x[:, 1]"),
    Use("aten.split.Tensor", "x.split(2, 1)[1]"),
    Use("aten.split_with_sizes.default", "x.split([1, 3], 1)[1]"),
    Use("aten.chunk.default", "x.chunk(2, 1)[1]"),
    Use("aten.unbind.int", "x.unbind(1)[1]"),
    Use("aten.narrow.default", "x.narrow(1, 1, 2)", instead=("x[:, 1:3]",)),
    Use("aten.flip.default", "x.flip(2)"),
    Use("aten.flip.default", "x.flip(1)", instead=("torch.cat([x[:, 3:], x[:, 2:3], x[:, 1:2], x[:, :1]], 1)",)),
    Use("aten.cat.default", "torch.cat([x[:, 3:], x[:, 2:3], x[:, 1:2], x[:, :1]], 1)"),
    Use("aten.roll.default", "x.roll(1, 1)", instead=("torch.cat([x[:, -1:], x[:, :-1]], 1)",)),
    Use("aten.cat.default", "torch.cat([x[:, -1:], x[:, :-1]], 1)"),
    Use("aten.pad.default", "F.pad(x, (1, 1, 1, 1))"),
    Use("aten.pad.default", "F.pad(x, (1, 1, 1, 1), value=0.5)"),
    Use("aten.pad.default", "F.pad(x, (1, 1, 1, 1), mode='replicate')"),
    Use("aten.pad.default", "F.pad(x, (1, 1), mode='reflect')", (ROWS,)),
    Use("aten.pad.default", "F.pad(x, (1, 1, 1, 1), mode='reflect')"),
    Use("aten.pixel_shuffle.default", "F.pixel_shuffle(x, 2)"),
    Use("aten.pixel_unshuffle.default", "F.pixel_unshuffle(x, 2)"),
    Use("aten.channel_shuffle.default", "F.channel_shuffle(x, 2)", instead=(_SHUFFLE,)),
    Use("aten.transpose.int", _SHUFFLE),
    Use("aten.gather.default", "x.gather(2, y)", (ROWS, "torch.randint(0, 8, (1, 6, 4))")),
    Use("aten.gather.default", "x.gather(1, y)", (ROWS, "torch.randint(0, 6, (1, 4, 8))")),
    Use("aten.index_select.default", "x.index_select(1, y)", (ROWS, "torch.tensor([4, 0, 2])")),
    Use("aten.index.Tensor", "x[:, [2, 0]]", instead=("torch.cat([x[:, 2:3], x[:, :1]], 1)",)),
    Use("aten.cat.default", "torch.cat([x[:, 2:3], x[:, :1]], 1)"),
    Use("aten.index.Tensor", "x[y]", ("torch.randn(6, 8)", "torch.tensor([4, 0, 2])")),
    Use(
        "aten.index_put.default",
        "x.index_put((y,), z)",
        ("torch.randn(6, 8)", "torch.tensor([4, 0])", "torch.randn(2, 8)"),
    ),
    Use(
        "aten.index_copy.default",
        "x.index_copy(0, y, z)",
        ("torch.randn(6, 8)", "torch.tensor([4, 0])", "torch.randn(2, 8)"),
    ),
    Use(
        "aten.scatter.src",
        "x.scatter(0, y, z)",
        ("torch.randn(6, 8)", "torch.randint(0, 6, (2, 8))", "torch.randn(2, 8)"),
    ),
    Use("aten.slice_scatter.default", "x.slice_scatter(y, 1, 1, 3)", (IMAGE, "torch.randn(1, 2, 8, 8)")),
    Use("aten.select_scatter.default", "x.select_scatter(y, 1, 1)", (IMAGE, "torch.randn(1, 8, 8)")),
    Use("aten.unfold.default", "x.unfold(2, 3, 1)", (ROWS,)),
    Use("aten.im2col.default", "F.unfold(x, 3)"),
    Use("aten.as_strided.default", "x.as_strided((1, 3, 8), (48, 8, 1))", (ROWS,)),
    Use("aten.tril.default", "x.tril()"),
    Use("aten.triu.default", "x.triu()"),
    Use("aten.alias.default", "torch.ops.aten.alias.default(x)"),
    Use("aten.detach.default", "x.detach()"),
    Use("aten.clone.default", "x.clone()"),
    Use("aten.contiguous.default", "x.permute(0, 2, 3, 1).contiguous()"),
    Use("aten.copy.default", "torch.ops.aten.copy.default(x, y)", (IMAGE, IMAGE)),
    Use("aten.to.dtype", "x.to(torch.float32)", (INTEGERS,)),
    Use("aten.to.dtype", "x.to(torch.int32)"),
)

_MADE = (
    Use("aten.arange.default", "x + torch.arange(8)"),
    Use("aten.full.default", "x + torch.full((1, 4, 8, 8), 0.5)"),
    Use("aten.full_like.default", "x + torch.full_like(x, 0.5)"),
    Use("aten.zeros.default", "x + torch.zeros(1, 4, 8, 8)"),
    Use("aten.ones.default", "x + torch.ones(1, 4, 8, 8)"),
    Use("aten.zeros_like.default", "x + torch.zeros_like(x)"),
    Use("aten.ones_like.default", "x + torch.ones_like(x)"),
    Use("aten.fill.Scalar", "x + torch.fill(x, 0.5)"),
    Use("aten.eye.default", "x + torch.eye(8)"),
    Use("aten.linspace.default", "x + torch.linspace(0, 1, 8)"),
    Use("aten.scalar_tensor.default", "x + torch.scalar_tensor(0.5)"),
    Use("aten.lift_fresh_copy.default", "x + torch.tensor([0.5])"),
    Use("aten.einsum.default", "torch.einsum('bij,bjk->bik', x, y)", (ROWS, "torch.randn(1, 8, 5)")),
    Use("aten.outer.default", "torch.outer(x, y)", ("torch.randn(4)", "torch.randn(6)")),
    Use("aten.hypot.default", "torch.hypot(x, y)", (IMAGE, IMAGE), instead=("torch.sqrt(x * x + y * y)",)),
    Use("aten.sqrt.default", "torch.sqrt(x * x + y * y)", (IMAGE, IMAGE)),
)

USES: tuple[Use, ...] = (
    *_LAYERS,
    *_ACTIVATIONS,
    *_OF_ONE,
    *_OF_TWO,
    *_COMPARISONS,
    *_REDUCED,
    *_POOLED,
    *_MOVED,
    *_MADE,
)
