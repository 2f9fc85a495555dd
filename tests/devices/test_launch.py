"""How processes were started, from the variables that Slurm, Open MPI and JAX's users set."""

import pytest

from adatad_jax.devices.launch import (
    Launch,
    cluster_of,
    devices_of_task,
    find_launch,
    require_one_process,
)
from adatad_jax.errors import UserError

JAX = {"JAX_COORDINATOR_ADDRESS": "node1:8476", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}
SLURM = {
    "SLURM_JOB_ID": "100",
    "SLURM_STEP_NODELIST": "node[007-009]",
    "SLURM_NTASKS": "6",
    "SLURM_STEP_NUM_TASKS": "6",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3)",
}


def test_nothing_says_that_there_are_several() -> None:
    assert find_launch(environment={}) is None
    assert find_launch(processes=1, environment={}) is None
    require_one_process("evaluate", {})


def test_variables_and_fields_of_which_fields_come_first() -> None:
    assert find_launch(environment=JAX) == Launch("JAX's variables", "node1:8476", 4, 3)
    given = find_launch("other:1", process=0, environment=JAX)
    assert given is not None
    assert (given.coordinator, given.count, given.index) == ("other:1", 4, 0)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"JAX_NUM_PROCESSES": ""}, r"JAX_NUM_PROCESSES .*config\.distributed\.processes"),
        ({"JAX_PROCESS_ID": ""}, "JAX_PROCESS_ID"),
        ({"JAX_COORDINATOR_ADDRESS": ""}, "JAX_COORDINATOR_ADDRESS"),
        ({"JAX_PROCESS_ID": "4"}, "process 4 of 4"),
        ({"JAX_NUM_PROCESSES": "0"}, "0 processes .*at least 1.*JAX_NUM_PROCESSES"),
        ({"JAX_NUM_PROCESSES": "two"}, 'JAX_NUM_PROCESSES="two"'),
        ({"JAX_COORDINATOR_ADDRESS": "node1"}, '"node1".*HOST:PORT'),
        ({"JAX_COORDINATOR_ADDRESS": "node1:99999"}, '"node1:99999"'),
    ],
)
def test_what_is_given_in_part_or_wrongly_is_named(changed: dict[str, str], named: str) -> None:
    with pytest.raises(UserError, match=named):
        find_launch(environment={**JAX, **changed})


def test_a_step_of_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX derives the port from the job's number: 61440 + 100 (its own rule)."""
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert find_launch(environment=SLURM) == Launch("Slurm", "node007:61540", 6, 3, (1,))
    named = find_launch("node007:8476", environment=SLURM)
    assert named is not None
    assert (named.coordinator, named.count, named.index) == ("node007:8476", 6, 3)


def test_what_is_no_step_of_several_tasks() -> None:
    assert cluster_of({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}) is None
    script = {name: value for name, value in SLURM.items() if name != "SLURM_STEP_NODELIST"}  # of sbatch, without srun
    assert cluster_of(script) is None
    assert cluster_of({"OMPI_COMM_WORLD_SIZE": "1"}) is None
    assert cluster_of({"TPU_WORKER_HOSTNAMES": "localhost"}) is None
    assert cluster_of({"TPU_WORKER_HOSTNAMES": "t1,t2"}) == "the TPU pod"


def test_a_cluster_that_does_not_say_where_process_0_is() -> None:
    """Open MPI 5 has no variable with the launcher's address."""
    with pytest.raises(UserError, match=r"Open MPI.*JAX_COORDINATOR_ADDRESS"):
        find_launch(environment={"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"})


@pytest.mark.parametrize(
    ("visible", "on_node", "tasks", "rank", "expected"),
    [
        ("0,1,2,3,4,5,6,7", "8", "1(x2)", "0", tuple(range(8))),  # a task for a machine: all of its GPUs
        ("0,1,2,3,4,5,6,7", "8", "8(x2)", "5", (5,)),  # a task for a GPU
        ("0,1,2,3", "4", "2(x2)", "1", (2, 3)),
        ("3", "8", "8(x2)", "3", None),  # Slurm has bound a GPU to each task, which sees no other
        ("", "", "2(x2)", "1", (1,)),  # nobody has shared them out: as JAX does
        ("", "", "1(x2)", "0", None),
    ],
)
def test_the_gpus_of_a_task(
    visible: str, on_node: str, tasks: str, rank: str, expected: tuple[int, ...] | None
) -> None:
    own = {"CUDA_VISIBLE_DEVICES": visible, "SLURM_GPUS_ON_NODE": on_node}
    assert devices_of_task({**SLURM, **own, "SLURM_STEP_TASKS_PER_NODE": tasks, "SLURM_LOCALID": rank}) == expected


def test_commands_of_one_process_refuse_several() -> None:
    for variables in (JAX, SLURM):
        with pytest.raises(UserError, match=r"evaluate.*(Slurm|JAX_NUM_PROCESSES)"):
            require_one_process("evaluate", variables)
