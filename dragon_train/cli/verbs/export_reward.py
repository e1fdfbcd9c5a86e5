"""The verb `dragon export-reward`: write a reward as a module that another trainer imports."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path  # noqa: TC003  typer evaluates the annotations
from typing import Annotated

import typer

from dragon_rewards.errors import DragonError
from dragon_rewards.rewards import compose
from dragon_rewards.storage.files import check_file, write_text
from dragon_train.cli.options import RewardArgument


class Trainer(StrEnum):
    """A trainer of others that takes reward functions."""

    TRL = "trl"
    FLOW_GRPO = "flow-grpo"
    FLOW_FACTORY = "flow-factory"


TRL = '''"""{name} as a reward function of TRL.

    from {module} import {variable}
    trainer = GRPOTrainer(model=..., reward_funcs=[{variable}], args=..., train_dataset=...)
"""

from dragon_rewards.export import TrlReward

SAMPLE_RATE = 24_000  # Hz, of what decode returns


def decode(completion_ids):
    """Token ids of completions -> audio of each, (samples,) or (channels, samples): your model's codec."""
    raise NotImplementedError


{variable} = TrlReward("{name}", decode, SAMPLE_RATE)
'''

FLOW_GRPO = '''"""{name} as a reward function of flow_grpo.

In flow_grpo/rewards.py, import {variable} from {module} and add to the score_functions of multi_score:
    "{variable}": {variable},
In the configuration:
    config.reward_fn = {{"{variable}": 1.0}}
"""

from dragon_rewards.export import FlowGrpoReward

SAMPLE_RATE = 44_100  # Hz, of the audio that your training script hands over as images


def {variable}():
    return FlowGrpoReward("{name}", SAMPLE_RATE)
'''

FLOW_FACTORY = '''"""{name} as a reward model of Flow-Factory. In the configuration:

rewards:
  - name: "{variable}"
    reward_model: "{module}.Reward"
    batch_size: 16
"""

from dragon_rewards.export import flow_factory_reward

Reward = flow_factory_reward("{name}")
'''

TEMPLATES = {Trainer.TRL: TRL, Trainer.FLOW_GRPO: FLOW_GRPO, Trainer.FLOW_FACTORY: FLOW_FACTORY}


def export_reward(
    name: RewardArgument,
    trainer: Annotated[Trainer, typer.Option("--for", help="The trainer that shall use it.")],
    out: Annotated[Path | None, typer.Option(help="Python file to write; default: print the module.")] = None,
) -> None:
    """Write a module that gives another trainer a reward, with the lines of configuration to paste."""
    compose(name)
    variable = re.sub(r"\W+", "_", name)
    module = variable if out is None else out.stem
    if not module.isidentifier() or (out and (out.suffix != ".py" or out.is_dir())):
        raise DragonError(f"'{out}' is no name of a module that can be imported; give --out one such as {variable}.py")
    if out:
        check_file(out, "--out")
    source = TEMPLATES[trainer].format(name=name, variable=variable, module=module)
    if out is None:
        print(source, end="")
    else:
        write_text(out, source)
