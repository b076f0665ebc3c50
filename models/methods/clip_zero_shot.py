"""Zero-shot classification: the names of the classes, as texts, are the weights of the head."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from sweeper.models.errors import UserError, one_line
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.pretrained import loaded, located
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Output, Phase


class ClipZeroShot(Method):
    """Compare features with what a model such as CLIP or BLIP makes of a `prompt` for each class; nothing trains.

    l_m = s cos(z_m, t_c), with the model's own temperature s and t_c its text part's embedding of class c; fused is the
    mean over modalities, to which one that a row lacks adds 0; read-out l_m. The encoders are to be the same model's:
    `hf` with this `model`, its pooling `pooler`, which maps into the space that texts and images share. `model` is a
    folder or a name on the hub, as `revision` has it. `prompt` holds {} where the class's name comes, underscores in it
    as spaces, and `classes` are names in place of the dataset's own, in their order.

    Source: Radford et al., ICML 2021, section 3.1, for images; there are texts to classify beside them here. Ours: the
    mean over modalities. Raises UserError for a dataset without names of classes, and features of another width.
    """

    fuses = False
    trains = False

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        model: str = "openai/clip-vit-base-patch32",
        revision: str = "main",
        prompt: str = "a photo of a {}",
        classes: list[str] | None = None,
    ) -> None:
        super().__init__(net, task)
        names = classes or list(net.spec.classes)
        if len(names) != task.n_outputs or "{}" not in prompt:
            raise UserError(
                f"method 'clip_zero_shot': {len(names)} names of classes for the {task.n_outputs} of dataset"
                f" {net.spec.name!r}, and prompt {prompt!r}; give as many `classes`, and a prompt with {{}}"
            )
        texts, scale = embedded(
            [prompt.replace("{}", name.replace("_", " ")) for name in names], located(model, revision)
        )
        for m, width in net.dims.items():
            if width != texts.shape[1]:
                raise UserError(
                    f"method 'clip_zero_shot': features of {m!r} are {width} wide, embeddings of {model!r}"
                    f" {texts.shape[1]}; encode all by {{name: hf, model: {model}, pooling: pooler}}"
                )
        self.head = nn.Linear(*reversed(texts.shape), bias=False)
        self.head.weight.data = scale * functional.normalize(texts)

    def phases(self, epochs: int) -> list[Phase]:
        """Return a phase without epochs."""
        return [Phase("none", 0, keep="last")]

    def forward(self, batch: Batch) -> Output:
        """Return features, their mean logits as fused, and each modality's as read-out."""
        features = self.net.encode(batch)
        logits = self.read_out(features)
        return Output(features, sum(logits.values()) / len(logits), self.read_out)

    def read_out(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return each modality's scaled cosines (B, C)."""
        return {m: self.head(functional.normalize(z)) for m, z in features.items()}


@torch.no_grad()
def embedded(texts: list[str], folder: Path) -> tuple[Tensor, Tensor]:
    """Return a model's embeddings (C, D) of texts, in the space that it shares with images, and its temperature s.

    Raises UserError for a folder that holds no such model with all its weights, and its tokenizer.
    """
    from transformers import AutoModel, AutoTokenizer

    try:
        net = loaded(AutoModel, folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        words = tokenizer(texts, padding=True, return_tensors="pt")
        read = net.eval().text_model(input_ids=words["input_ids"], attention_mask=words["attention_mask"])
        return net.text_projection(read.pooler_output), net.logit_scale.exp()
    except Exception as error:  # whatever reading a foreign or damaged folder raises
        raise UserError(
            f"{folder} is no model of texts and images ({one_line(error)[:200]}); give a folder of CLIP or BLIP with"
            " model.safetensors and tokenizer.json"
        ) from error
