"""`earmark k8s`: the mesh on a Kubernetes cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from earmark.cli import common
from earmark.cli.k8s_views import plan_text, pods_table, workloads_table
from earmark.client import ConnectionFailed, EarmarkClientError
from earmark.client.index import IndexStatus
from earmark.k8s import places as numbering
from earmark.k8s.cluster import Cluster, ClusterError, Numbering
from earmark.k8s.scaling import Plan, Refused, ShardScaling

EXIT_INTERRUPTED = 130
SLOTS = 256

app = typer.Typer(help="The mesh on a Kubernetes cluster: how it is, and how many shards it has.", no_args_is_help=True)

Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Where the mesh is. [default: that of the context]", metavar="NAME"),
]
Context = Annotated[
    str | None, typer.Option("--context", help="Context of the kubeconfig. [default: the current one]", metavar="NAME")
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", help="[default: $KUBECONFIG, else ~/.kube/config]", metavar="FILE", dir_okay=False),
]


@app.command()
def status(  # noqa: PLR0917  (typer reads options off the parameters)
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    as_json: common.AsJson = False,
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Shows rollouts, the indexers with shard, replica and lag, and whether the number of shards is being changed.

    Needs the gateway for what the indexers say of themselves: --url, or `kubectl port-forward svc/gateway 8080`.
    """
    with _cluster(namespace, context, kubeconfig) as cluster:
        workloads, pods = cluster.workloads(), cluster.pods()
        indexers, written = cluster.indexers(), cluster.numbering()
    index, away = _index(url, data_dir)
    by_number = indexers.workload.wanted
    places = (
        numbering.extended(written.places, max(by_number, len(pods)))
        if written.places
        else numbering.by_number(max(by_number, len(pods)), indexers.shards)
    )
    if as_json:
        common.print_json(
            {
                "namespace": cluster.namespace,
                "workloads": [workload.as_json() for workload in workloads],
                "indexers": [
                    {**pod.as_json(), "place": str(places[pod.ordinal]) if 0 <= pod.ordinal < len(places) else None}
                    for pod in pods
                ],
                "places": numbering.written(places),
                "scaling": written.state,
                "index": index.raw if index is not None else None,
                "index_problem": away or None,
            }
        )
        return
    common.print_table(workloads_table(workloads))
    for workload in workloads:
        if workload.problem:
            common.err.print(f"[yellow]![/] {workload.name}: {escape(workload.problem)}")
    common.out.print()
    common.print_table(pods_table(pods, places, index))
    if away:
        common.err.print(f"[yellow]![/] The gateway did not say how the indexers are: {escape(away)}")
    _say_state(written, by_number)


@app.command("scale-shards")
def scale_shards(  # noqa: PLR0917
    shards: Annotated[int, typer.Argument(min=1, max=SLOTS, metavar="N", help="Shards there are to be.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")] = False,
    patience: Annotated[
        float, typer.Option(min=1, help="Seconds without any progress after which it gives up.", metavar="SECONDS")
    ] = 900.0,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    as_json: common.AsJson = False,
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Brings the index to N shards, while searches and ingest go on: new pods, slots moved, compared, old pods retired.

    Can be interrupted at any point. Run it again, from anywhere, and it goes on where it was.
    """

    def say(line: str, passing: bool) -> None:
        if not as_json:
            common.out.print(f"  [dim]{escape(line)}[/]" if passing else escape(line), soft_wrap=True)

    with _cluster(namespace, context, kubeconfig) as cluster, common.connected(url, data_dir) as client:
        scaling = ShardScaling(
            cluster,
            client.index,
            say=say,
            wait=_wait,
            patience_seconds=patience,
        )
        if dry_run:
            plan = scaling.plan(shards)
            _say_plan(plan, as_json=as_json)
            return
        try:
            plan = scaling.run(shards)
        except KeyboardInterrupt:
            common.err.print(
                f"\nStopped. Everything goes on answering; run `earmark k8s scale-shards {shards}` again to go on."
            )
            raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        common.print_json(plan.as_json())
    elif plan.idle:
        common.out.print("Nothing to do.")
    else:
        pods = plan.retirement.pods
        common.out.print(
            f"[green]✓[/] {plan.shards} shards on {pods} pods. Write it into your overlay, or the next `kubectl apply`"
            f" undoes it: replicas of the StatefulSet indexer: {pods}. Leave EARMARK_SHARDS as it is.",
            soft_wrap=True,
        )


def _say_plan(plan: Plan, *, as_json: bool) -> None:
    if as_json:
        common.print_json(plan.as_json())
    else:
        common.out.print(plan_text(plan), soft_wrap=True)


def _say_state(written: Numbering, pods: int) -> None:
    if written.state is not None:
        shards = written.state["shards"]
        common.out.print(
            f"A change to {shards} shards, begun {written.state['begun_at']}, is at the step {written.state['step']}."
            f" If nobody runs it any more: earmark k8s scale-shards {shards}",
            soft_wrap=True,
        )
    elif len(written.places) > pods:
        common.err.print(
            f"[yellow]![/] Places are written down for {len(written.places)} pods, and the StatefulSet has {pods}: was"
            f" an older manifest applied? kubectl scale statefulset indexer --replicas {len(written.places)}",
            soft_wrap=True,
        )


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def _index(url: str | None, data_dir: Path | None) -> tuple[IndexStatus | None, str]:
    """How the index is, or why that is not known."""
    try:
        with common.connected(url, data_dir) as client:
            return client.index.status(), ""
    except ConnectionFailed as error:
        return None, f"{error.message} Name it with --url, or: kubectl port-forward svc/gateway 8080"
    except EarmarkClientError as error:
        return None, common.explain(error)


@contextmanager
def _cluster(namespace: str | None, context: str | None, kubeconfig: Path | None) -> Iterator[Cluster]:
    """The cluster that is meant; what it refuses ends the command."""
    try:
        yield Cluster.connect(namespace=namespace, context=context, kubeconfig=kubeconfig)
    except (ClusterError, Refused) as error:
        unreachable = isinstance(error, ClusterError) and not error.status
        common.fail(str(error), code=common.EXIT_UNREACHABLE if unreachable else common.EXIT_FAILED)
