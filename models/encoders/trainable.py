"""Which parameters of a pre-trained net train, and in which order its layers stand."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from sweeper.models.errors import UserError


def blocks_of(net: nn.Module) -> nn.ModuleList | None:
    """Return the blocks that a net is stacked of: the list of modules that holds the most parameters."""
    lists = [module for module in net.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=lambda own: sum(p.numel() for p in own.parameters()), default=None)


def ordered(net: nn.Module) -> list[nn.Module]:
    """Return what holds a net's parameters, from the input up, its blocks one by one."""
    blocks = blocks_of(net)

    def within(module: nn.Module) -> Iterator[nn.Module]:
        if module is blocks:
            yield from module
        elif any(inner is blocks for inner in module.modules()):
            for child in module.children():
                yield from within(child)
        else:
            yield module

    return [layer for layer in within(net) if any(True for _ in layer.parameters())]


def freeze(net: nn.Module, trainable: str, top: int, rank: int) -> None:
    """Let nothing of a net train but what `trainable` says: all, none, top, norm-and-bias or lora.

    `top`: its last blocks and what follows them. `lora`: new matrices of a rank beside each linear layer of the blocks
    (Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022), with α twice the rank.
    Raises UserError for more blocks than it has, and for LoRA without linear layers.
    """
    if trainable == "all":
        return
    net.requires_grad_(False)
    if trainable == "top":
        blocks = list(blocks_of(net) or ())
        if top > len(blocks):
            raise UserError(f"top is {top}, but it has {len(blocks)} blocks; admissible: 1 to {len(blocks)}")
        layers = ordered(net)
        first = next(n for n, layer in enumerate(layers) if layer is blocks[-top])
        for layer in layers[first:]:
            layer.requires_grad_(True)
    elif trainable == "norm-and-bias":
        for module in net.modules():
            for own, p in module.named_parameters(recurse=False):
                p.requires_grad_(own == "bias" or "Norm" in type(module).__name__)
    elif trainable == "lora":
        _adapt(net, rank)


def _adapt(net: nn.Module, rank: int) -> None:
    blocks = blocks_of(net)
    inside = {id(module) for module in blocks.modules()} if blocks is not None else set()
    linear = [n for n, m in net.named_modules() if isinstance(m, nn.Linear) and id(m) in inside]
    if not linear:
        raise UserError("lora needs linear layers, and its blocks have none; let top or norm-and-bias train")
    from peft import LoraConfig, inject_adapter_in_model

    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=linear), net)
