"""LightGlue's network, rewritten for many pairs on a CPU (and no slower on a GPU), with the published weights.

The arithmetic is LightGlue's (Lindenberger, Sarlin and Pollefeys, ICCV 2023); what differs is its order:

* queries, keys and values are packed into one projection, and rotary encoding works on halves instead of interleaved
  pairs (a permutation of the weights that leaves every dot product as it was);
* each attention's output projection is folded into the first layer of the feed-forward network that follows;
* both photographs of a pair run in one batch;
* everything up to and including the first self-attention block depends on one photograph alone: :meth:`prepare`
  computes it once per photograph, however many pairs it takes part in.

Every pair runs through all layers: stopping early costs matches (bench/NOTES.md, "Removed").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

#: The feed-forward products never have fewer rows: below, a CPU's matrix library takes another way in bfloat16, with
#: other last bits, and a pair alone would differ from the same pair in a batch.
_MIN_ROWS = 512

#: Asked for at every call: another library may have switched one off for the whole process (kornia's LightGlue does),
#: and another kernel means other last bits.
_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]

StateDict = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Prepared:
    """What LightGlue needs of one photograph, whatever it is paired with.

    Attributes:
        x: (N, D) state after the first self-attention block.
        cos, sin: (N, head dimension / 2) rotary encoding of the positions.
    """

    x: Tensor
    cos: Tensor
    sin: Tensor

    def __len__(self) -> int:
        return self.x.shape[0]


@dataclass(frozen=True, eq=False)
class Assignment:
    """Mutual matches of one pair: (M, 2) int64 indices, (M,) float32 confidences."""

    indices: Tensor
    confidence: Tensor


def normalise_state_dict(state: StateDict) -> StateDict:
    """Bring published weight files to one naming: strip ``matcher.``, drop detectors, rename old blocks."""
    renamed: StateDict = {}
    for key, value in state.items():
        if key.startswith("extractor."):
            continue
        name = key.removeprefix("matcher.")
        for block in ("self_attn", "cross_attn"):
            if name.startswith(f"{block}."):
                layer, rest = name[len(block) + 1 :].split(".", 1)
                name = f"transformers.{layer}.{block}.{rest}"
        renamed[name] = value
    return renamed


@dataclass(frozen=True, eq=False)
class _Block:
    """Weights of one attention block and its feed-forward network, ready to use."""

    qkv: tuple[Tensor, Tensor]
    ffn_in: tuple[Tensor, Tensor]
    norm: tuple[Tensor, Tensor]
    ffn_out: tuple[Tensor, Tensor]

    def feed_forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Return ``x`` + FFN([x, message]), the message's projection being part of the first layer."""
        both = torch.cat([x, context], -1).flatten(0, -2)
        rows = len(both)
        if rows < _MIN_ROWS:
            both = F.pad(both, (0, 0, 0, _MIN_ROWS - rows))
        hidden = F.linear(both, *self.ffn_in)
        hidden = F.gelu(F.layer_norm(hidden, hidden.shape[-1:], *self.norm))
        return x + F.linear(hidden, *self.ffn_out)[:rows].view_as(x)


class LightGlueNetwork:
    """LightGlue for inference; build it from a published state dict.

    Args:
        state: published weights (any of the known namings).
        heads: attention heads per block (4; LighterGlue has 1).
        device: where to run.
        dtype: number type of the weights and states.
    """

    def __init__(
        self,
        state: StateDict,
        heads: int,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        state = {key: value.float() for key, value in normalise_state_dict(state).items()}
        self.device = device
        self.dtype = dtype
        self.heads = heads
        self.dim = state["transformers.0.self_attn.out_proj.weight"].shape[0]
        self.n_layers = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("transformers."))
        self._positions = state["posenc.Wr.weight"].to(device)
        self._input: tuple[Tensor, ...] | None = None
        if "input_proj.weight" in state:
            self._input = self._cast(state["input_proj.weight"], state["input_proj.bias"])
        self._self = [self._self_block(state, f"transformers.{i}.self_attn.") for i in range(self.n_layers)]
        self._cross = [self._cross_block(state, f"transformers.{i}.cross_attn.") for i in range(self.n_layers)]
        self._assign = self._assignment_weights(state, self.n_layers - 1)

    @property
    def input_dim(self) -> int:
        """Dimension of the descriptors that these weights were trained on."""
        return self._input[0].shape[1] if self._input is not None else self.dim

    @staticmethod
    def padded_length(count: int) -> int:
        """Return the number of rows to which a pair's keypoints are padded: the next multiple of 64."""
        return 64 * max(1, math.ceil(count / 64))

    def _cast(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.to(self.device, self.dtype).contiguous() for tensor in tensors)

    def _fold(self, state: StateDict, prefix: str, out: str, qkv: tuple[Tensor, Tensor]) -> _Block:
        weight, bias = state[f"{prefix}ffn.0.weight"], state[f"{prefix}ffn.0.bias"]
        on_x, on_message = weight[:, : self.dim], weight[:, self.dim :]
        folded = torch.cat([on_x, on_message @ state[f"{prefix}{out}.weight"]], 1)
        folded_bias = bias + on_message @ state[f"{prefix}{out}.bias"]
        cast = self._cast(
            *qkv,
            folded,
            folded_bias,
            state[f"{prefix}ffn.1.weight"],
            state[f"{prefix}ffn.1.bias"],
            state[f"{prefix}ffn.3.weight"],
            state[f"{prefix}ffn.3.bias"],
        )
        return _Block((cast[0], cast[1]), (cast[2], cast[3]), (cast[4], cast[5]), (cast[6], cast[7]))

    def _self_block(self, state: StateDict, prefix: str) -> _Block:
        head = self.dim // self.heads
        # Published rows are ordered (head, channel, q/k/v); wanted are q, k, v in turn, with the channels of q and k
        # sorted into the first and the second member of each rotary pair.
        rows = torch.arange(3 * self.dim).view(self.heads, head, 3)
        halves = torch.cat([torch.arange(0, head, 2), torch.arange(1, head, 2)])
        order = torch.cat([rows[:, halves, 0].flatten(), rows[:, halves, 1].flatten(), rows[:, :, 2].flatten()])
        qkv = (state[f"{prefix}Wqkv.weight"][order], state[f"{prefix}Wqkv.bias"][order])
        return self._fold(state, prefix, "out_proj", qkv)

    def _cross_block(self, state: StateDict, prefix: str) -> _Block:
        weight = torch.cat([state[f"{prefix}to_qk.weight"], state[f"{prefix}to_v.weight"]])
        bias = torch.cat([state[f"{prefix}to_qk.bias"], state[f"{prefix}to_v.bias"]])
        return self._fold(state, prefix, "to_out", (weight, bias))

    def _assignment_weights(self, state: StateDict, layer: int) -> tuple[Tensor, ...]:
        prefix = f"log_assignment.{layer}."
        # Both sides are divided by d^(1/4) in the paper: fold that into the projection.
        scale = self.dim**-0.25
        projection = self._cast(state[f"{prefix}final_proj.weight"] * scale, state[f"{prefix}final_proj.bias"] * scale)
        matchability = (state[f"{prefix}matchability.weight"], state[f"{prefix}matchability.bias"])
        return (*projection, *(tensor.to(self.device) for tensor in matchability))

    @torch.inference_mode()
    def prepare(self, xy: Tensor, descriptors: Tensor, size: tuple[int, int]) -> Prepared:
        """Compute what depends on one photograph alone.

        Args:
            xy: (N, 2) float32 pixels; N may be 0.
            descriptors: (N, input dimension).
            size: (width, height) of the photograph in the same pixels.
        """
        width, height = size
        shift = torch.tensor([width / 2, height / 2], dtype=torch.float32, device=self.device)
        points = (xy.to(self.device, torch.float32) - shift) / (max(width, height) / 2)
        angles = points @ self._positions.T
        cos, sin = self._cast(angles.cos(), angles.sin())
        x = descriptors.to(self.device, self.dtype)
        if self._input is not None:
            x = F.linear(x, *self._input)
        if len(x):
            with sdpa_kernel(_KERNELS):
                x = self._self_attention(0, x[None], cos[None], sin[None], None)[0]
        return Prepared(x, cos, sin)

    def _self_attention(self, layer: int, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor | None) -> Tensor:
        block = self._self[layer]
        batch, count, dim = x.shape
        head = dim // self.heads
        qkv = F.linear(x, *block.qkv).view(batch, count, 3, self.heads, head)
        first, second = qkv[:, :, :2].unflatten(-1, (2, head // 2)).unbind(-2)
        c, s = cos[:, :, None, None], sin[:, :, None, None]
        qk = torch.cat([first * c - second * s, second * c + first * s], -1)
        q, k, v = qk[:, :, 0].transpose(1, 2), qk[:, :, 1].transpose(1, 2), qkv[:, :, 2].transpose(1, 2)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return block.feed_forward(x, context.transpose(1, 2).reshape(batch, count, dim))

    def _cross_attention(self, layer: int, x: Tensor, bias: Tensor | None) -> Tensor:
        block = self._cross[layer]
        batch, count, dim = x.shape
        head = dim // self.heads
        qk, v = F.linear(x, *block.qkv).view(batch, count, 2, self.heads, head).unbind(2)
        other_qk, other_v = _swap(qk).transpose(1, 2), _swap(v).transpose(1, 2)
        other_bias = _swap(bias) if bias is not None else None
        context = F.scaled_dot_product_attention(qk.transpose(1, 2), other_qk, other_v, attn_mask=other_bias)
        return block.feed_forward(x, context.transpose(1, 2).reshape(batch, count, dim))

    @torch.inference_mode()
    def match(self, pairs: list[tuple[Prepared, Prepared]], threshold: float = 0.1) -> list[Assignment]:
        """Match a batch of pairs, each with at least one keypoint on both sides.

        Pairs of one :meth:`padded_length` give the same bits alone and in any batch (on a CPU): sums then run over the
        same padded rows in the same order.

        Args:
            pairs: prepared photographs (view 0, view 1).
            threshold: matches with a lower confidence are left out.

        Returns:
            One assignment per pair, in the order given.
        """
        if not pairs:
            return []
        with sdpa_kernel(_KERNELS):
            return self._match(pairs, threshold)

    def _match(self, pairs: list[tuple[Prepared, Prepared]], threshold: float) -> list[Assignment]:
        lengths = torch.tensor([[len(a), len(b)] for a, b in pairs], device=self.device)
        longest = self.padded_length(int(lengths.max()))
        flat = [side for pair in pairs for side in pair]
        x = _pad([side.x for side in flat], longest)
        cos, sin = _pad([side.cos for side in flat], longest), _pad([side.sin for side in flat], longest)
        valid = torch.arange(longest, device=self.device) < lengths.view(-1, 1)
        bias = self._key_bias(valid)
        for layer in range(self.n_layers):
            if layer:
                x = self._self_attention(layer, x, cos, sin, bias)
            x = self._cross_attention(layer, x, bias)
        return self._assignments(x, valid, threshold)

    def _key_bias(self, valid: Tensor) -> Tensor:
        bias = torch.zeros(valid.shape, dtype=self.dtype, device=self.device)
        return bias.masked_fill_(~valid, -math.inf)[:, None, None, :].expand(-1, self.heads, valid.shape[1], -1)

    def _assignments(self, x: Tensor, valid: Tensor, threshold: float) -> list[Assignment]:
        weight, bias, match_weight, match_bias = self._assign
        projected = F.linear(x, weight, bias)
        certainty = F.logsigmoid(F.linear(x.float(), match_weight, match_bias).squeeze(-1))
        similarity = torch.matmul(projected[0::2], projected[1::2].transpose(1, 2)).float()
        valid0, valid1 = valid[0::2], valid[1::2]
        similarity = similarity.masked_fill(~(valid0[:, :, None] & valid1[:, None, :]), -1e4)
        scores = F.log_softmax(similarity, 2) + F.log_softmax(similarity, 1)
        scores += certainty[0::2, :, None] + certainty[1::2, None, :]
        best0, best1 = scores.max(2), scores.argmax(1)
        counts = torch.arange(scores.shape[1], device=self.device)
        mutual = best1.gather(1, best0.indices) == counts
        confidence = best0.values.exp()
        keep = mutual & valid0 & (confidence > threshold)
        assignments = []
        for row in range(len(scores)):
            left = keep[row].nonzero().squeeze(1)
            assignments.append(Assignment(torch.stack([left, best0.indices[row, left]], 1), confidence[row, left]))
        return assignments


def _swap(x: Tensor) -> Tensor:
    """Exchange the two sides of every pair: rows 0, 1, 2, 3 become 1, 0, 3, 2."""
    return x.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def _pad(parts: list[Tensor], length: int) -> Tensor:
    if all(len(part) == length for part in parts):
        return torch.stack(parts)
    out = parts[0].new_zeros((len(parts), length, parts[0].shape[1]))
    for row, part in zip(out, parts, strict=True):
        row[: len(part)] = part
    return out
