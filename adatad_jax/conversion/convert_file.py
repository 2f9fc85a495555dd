"""One checkpoint file to one folder of Flax parameters; needs torch."""

import dataclasses
from pathlib import Path

from adatad_jax.conversion.store import refuse_existing, save_backbone
from adatad_jax.conversion.torch_file import load_state_dict
from adatad_jax.conversion.videomae import convert_videomae


def convert_file(source: Path, output: Path) -> str:
    """Converts a VideoMAE `.pth`; returns the account in words.

    Raises:
      UserError: the file is not what it should be, or the output exists; nothing is left behind.
    """
    refuse_existing(output)
    backbone = convert_videomae(load_state_dict(source), source)
    fields = {field.name: getattr(backbone, field.name) for field in dataclasses.fields(backbone)}
    params, config = fields.pop("params"), fields.pop("config")
    account = {"source": source.name, **fields, "dimensions": dataclasses.asdict(config), "account": backbone.account()}
    save_backbone(output, params, account)
    return f"{source}\n{backbone.account()}\nwrote   {output}"
