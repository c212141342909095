"""Sound and other signals over time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests import tiny_models

from .parts import Model, Shortcut, known, noise, signal


def _conv1d(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layer = nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm1d(outputs), nn.ReLU())


class _ECG(nn.Module):
    """Residual blocks over a lead, poolings in their shortcuts."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()

        def block(inputs: int, outputs: int) -> nn.Module:
            branch = [_conv1d(inputs, outputs, 7), nn.Dropout(0.2), nn.Conv1d(outputs, outputs, 7, 2, 3)]
            return Shortcut(nn.Sequential(*branch), nn.Sequential(nn.MaxPool1d(2), nn.Conv1d(inputs, outputs, 1)))

        self.features = nn.Sequential(_conv1d(1, 8, 15), block(8, 16), nn.BatchNorm1d(16), nn.ReLU(), block(16, 24))
        self.head = nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(torch.relu(self.features(x)).mean(-1))
        return y


def _activity() -> nn.Module:
    """Of 6 channels of an inertial sensor."""
    layers = [nn.Conv1d(6, 16, 5, padding="same"), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(16, 24, 5, padding="same")]
    return nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(24, 6))


def _autoencoder() -> nn.Module:
    down = [nn.Conv1d(1, 8, 7, 2, 3), nn.ReLU(), nn.Conv1d(8, 16, 7, 2, 3), nn.ReLU()]
    up = [
        nn.ConvTranspose1d(16, 8, 7, 2, 3, output_padding=1),
        nn.ReLU(),
        nn.ConvTranspose1d(8, 1, 7, 2, 3, output_padding=1),
    ]
    return nn.Sequential(*down, *up)


class _Pitch(nn.Module):
    """CREPE: convolutions over the samples, and the batch norm behind the ReLU."""

    def __init__(self, bins: int = 36) -> None:
        super().__init__()
        widths = (1, 16, 8, 8)
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, (kernel, 1), (stride, 1))
            for inputs, outputs, kernel, stride in zip(widths, widths[1:], (64, 16, 16), (4, 1, 1), strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, eps=0.0010000000474974513) for width in widths[1:])
        self.sides = ((30, 30), (7, 8), (7, 8))
        self.head = nn.Linear(8 * 8, bins)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None, :, None]
        for layer, norm, sides in zip(self.convs, self.norms, self.sides, strict=True):
            x = norm(torch.relu(layer(nn.functional.pad(x, (0, 0, *sides)))))
            x = nn.functional.max_pool2d(x, (2, 1), (2, 1))
        x = x.permute(0, 2, 1, 3).reshape(-1, 64)
        return torch.sigmoid(self.head(x))


class _MatchboxNet(nn.Module):
    """Time-channel separable convolutions with residual connections."""

    def __init__(self, classes: int = 12) -> None:
        super().__init__()

        def separable(inputs: int, outputs: int, kernel: int, relu: bool = True) -> nn.Module:
            depthwise = nn.Conv1d(inputs, inputs, kernel, padding=kernel // 2, groups=inputs, bias=False)
            layers = [depthwise, nn.Conv1d(inputs, outputs, 1, bias=False), nn.BatchNorm1d(outputs)]
            return nn.Sequential(*layers, *([nn.ReLU()] if relu else []))

        def block(inputs: int, outputs: int, kernel: int) -> nn.Module:
            branch = nn.Sequential(separable(inputs, outputs, kernel), separable(outputs, outputs, kernel, relu=False))
            side = nn.Sequential(nn.Conv1d(inputs, outputs, 1, bias=False), nn.BatchNorm1d(outputs))
            return Shortcut(branch, side, nn.ReLU())

        last = nn.Conv1d(16, 16, 29, padding=28, dilation=2, groups=16, bias=False)
        self.layers = nn.Sequential(
            separable(20, 24, 11), block(24, 16, 13), block(16, 16, 15), last, nn.Conv1d(16, 32, 1), nn.BatchNorm1d(32),
            nn.ReLU(), nn.Conv1d(32, classes, 1), nn.AdaptiveAvgPool1d(1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x).squeeze(-1)
        return y


class _Causal(nn.Module):
    """A temporal block: padded on both sides, and the end cut off."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.cut = 2 * dilation

        def dilated(channels: int) -> nn.Module:
            layer = nn.Conv1d(channels, outputs, 3, padding=2 * dilation, dilation=dilation)
            normed: nn.Module = nn.utils.parametrizations.weight_norm(layer)
            return normed

        self.first, self.second = dilated(inputs), dilated(outputs)
        self.side = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first(x)[:, :, : -self.cut].contiguous())
        y = torch.relu(self.second(y)[:, :, : -self.cut].contiguous())
        return torch.relu(y + self.side(x))


class _TCN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(_Causal(8, 16, 1), _Causal(16, 16, 2), _Causal(16, 16, 4))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.layers(x)[:, :, -1])
        return y


class _Spotter(nn.Module):
    """Keywords by a recurrent layer over features [N, frames, 10]."""

    def __init__(self, recurrent: nn.Module, width: int, words: int = 12) -> None:
        super().__init__()
        self.recurrent, self.head = recurrent, nn.Linear(width, words)

    def forward(self, x: Tensor) -> Tensor:
        sequence, _ = self.recurrent(x)
        y: Tensor = self.head(sequence[:, -1, :])
        return y


def _spotter(make: Callable[..., nn.Module], width: int) -> Callable[[], nn.Module]:
    return lambda: _Spotter(make(), width)


class _ConvRecurrent(nn.Module):
    """CRNN: a convolution over frames and bands, whose channels and bands a GRU reads both ways."""

    def __init__(self, words: int = 12) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 8, (5, 4), (2, 2)), nn.BatchNorm2d(8)
        self.gru = nn.GRU(32, 16, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, words)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        x = x.permute(0, 2, 1, 3).flatten(2)
        y: Tensor = self.head(self.gru(x)[0].mean(1))
        return y


class _Denoiser(nn.Module):
    """RNNoise: three GRUs, each with what the dense layer and those before it gave; gains of bands and speech."""

    def __init__(self, features: int = 24, bands: int = 12) -> None:
        super().__init__()
        self.dense = nn.Linear(features, 12)
        self.speech_gru, self.speech = nn.GRU(12, 12, batch_first=True), nn.Linear(12, 1)
        self.noise_gru = nn.GRU(12 + 12 + features, 16, batch_first=True)
        self.gru, self.gains = nn.GRU(12 + 16 + features, 24, batch_first=True), nn.Linear(24, bands)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        dense = torch.tanh(self.dense(x))
        speech, _ = self.speech_gru(dense)
        noisy, _ = self.noise_gru(torch.cat((dense, speech, x), -1))
        y, _ = self.gru(torch.cat((speech, noisy, x), -1))
        return torch.sigmoid(self.gains(y)), torch.sigmoid(self.speech(speech))


class _ConvDenoiser(nn.Module):
    """Convolutions down the bands, a GRU over the frames, transposed convolutions up again, with skips."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(1, 8, (1, 3), (1, 2), (0, 1)), nn.BatchNorm2d(8), nn.ELU())
        self.down2 = nn.Sequential(nn.Conv2d(8, 16, (1, 3), (1, 2), (0, 1)), nn.BatchNorm2d(16), nn.ELU())
        self.gru = nn.GRU(16 * 4, 16 * 4, batch_first=True)
        self.up2 = nn.Sequential(nn.ConvTranspose2d(32, 8, (1, 3), (1, 2), (0, 1), (0, 1)), nn.BatchNorm2d(8), nn.ELU())
        self.up1 = nn.ConvTranspose2d(16, 1, (1, 3), (1, 2), (0, 1), (0, 1))

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(first)
        batch, channels, frames, bands = second.shape
        y, _ = self.gru(second.transpose(1, 2).reshape(batch, frames, channels * bands))
        y = y.view(batch, frames, channels, bands).transpose(1, 2)
        y = self.up1(torch.cat((self.up2(torch.cat((y, second), 1)), first), 1))
        return x * torch.sigmoid(y)


class _VoiceActivity(nn.Module):
    """Silero: a Fourier transform by convolution, its magnitudes, convolutions, and one step of an LSTM, whose state
    goes in and comes out."""

    def __init__(self, window: int = 32, hop: int = 16, width: int = 16) -> None:
        super().__init__()
        bins = window // 2 + 1
        angles = 6.283185307 * torch.outer(torch.arange(bins), torch.arange(window)) / window
        basis = torch.cat((angles.cos(), -angles.sin())) * torch.hann_window(window)
        self.bins, self.hop = bins, hop
        self.register_buffer("basis", basis[:, None, :])
        self.encoder = nn.Sequential(
            nn.Conv1d(bins, 16, 3, 1, 1),
            nn.ReLU(),
            nn.Conv1d(16, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv1d(16, 16, 3, 2, 1),
            nn.ReLU(),
        )
        self.cell = nn.LSTMCell(16, width)
        self.decoder = nn.Sequential(nn.Dropout(0.1), nn.ReLU(), nn.Conv1d(width, 1, 1), nn.Sigmoid())

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = nn.functional.pad(x, (0, self.hop), mode="reflect")
        transformed = nn.functional.conv1d(x[:, None, :], self.basis, stride=self.hop)  # type: ignore[arg-type]
        real, imaginary = transformed[:, : self.bins], transformed[:, self.bins :]
        x = self.encoder(torch.sqrt(real**2 + imaginary**2))[:, :, -1]
        hidden, cell = self.cell(x, (hidden, cell))
        return self.decoder(hidden.unsqueeze(-1)).squeeze(2).mean(1, keepdim=True), hidden, cell


def _voice() -> tuple[Tensor, ...]:
    return (*signal(1, 128)(), 0.5 * torch.rand(1, 16) - 0.25, torch.rand(1, 16) - 0.5)


AUDIO = {
    "DS-CNN": known("Zhang et al. 2017", tiny_models.ds_cnn, noise((1, 1, 49, 10))),
    "MatchboxNet": Model("Majumdar and Ginsburg 2020", _MatchboxNet, signal(1, 20, 48)),
    "TCN": Model("Bai et al. 2018", _TCN, signal(1, 8, 32)),
    "GRU keyword spotter": Model(
        "Zhang et al. 2017", _spotter(lambda: nn.GRU(10, 24, batch_first=True), 24), noise((1, 12, 10))
    ),
    "LSTM keyword spotter": Model(
        "Zhang et al. 2017", _spotter(lambda: nn.LSTM(10, 20, num_layers=2, batch_first=True), 20), noise((1, 8, 10))
    ),
    "CRNN keyword spotter": Model("Arik et al. 2017", _ConvRecurrent, noise((1, 1, 20, 10))),
    "RNNoise": Model("Valin 2018", _Denoiser, noise((1, 6, 24))),
    "Conv-recurrent denoiser": Model("Tan and Wang 2018", _ConvDenoiser, noise((1, 1, 6, 16))),
    "Silero VAD": Model("Silero Team 2021", _VoiceActivity, _voice),
    "CREPE pitch": Model("Kim et al. 2018", _Pitch, signal(1, 256)),
    "ECG ResNet": Model("Hannun et al. 2019", _ECG, signal(1, 1, 128)),
    "HAR CNN": Model("Yang et al. 2015", _activity, signal(1, 6, 64)),
    "1-D autoencoder": Model("Hinton and Salakhutdinov 2006", _autoencoder, signal(1, 1, 64)),
    "Deep autoencoder": known("Banbury et al. 2021", tiny_models.deep_autoencoder, signal(1, 640)),
}
