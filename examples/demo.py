"""`./setup.sh demo`: posts every example to a service of its own and checks each GLB that comes back."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from geometry.inspect import inspect_glb
from maquette_client import Job, MaquetteClient, MaquetteError
from maquette_client.service import LocalService

EXAMPLES = Path(__file__).parent
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
VIEWS = ("front", "back", "left", "right")

console = Console(highlight=False)


def examples() -> Iterator[tuple[str, list[Path]]]:
    """(name, pictures) of each example: a file, or a folder that holds several sides of one object."""
    for path in sorted(EXAMPLES.iterdir()):
        if path.suffix in SUFFIXES:
            yield path.stem, [path]
        elif path.is_dir():
            sides = [side for view in VIEWS for side in path.glob(f"{view}.*") if side.suffix in SUFFIXES]
            if sides:
                yield path.name, sides


def make(client: MaquetteClient, name: str, pictures: list[Path], folder: Path, bar: Progress) -> list[str]:
    """Turns one example into files below `folder`. Returns what is wrong with the GLB."""
    task = bar.add_task(name, total=1.0, stage="queued")
    started = time.monotonic()
    views = {"views": ",".join(path.stem for path in pictures)} if len(pictures) > 1 else {}
    submitted = client.submit(pictures, **views)
    job = client.wait(submitted.id, lambda job: _show(bar, task, job))
    seconds = time.monotonic() - started
    path = folder / f"{name}.glb"
    path.write_bytes(client.read(job, "output.glb"))
    report = inspect_glb(path.read_bytes())
    bar.update(task, completed=1.0, stage="complete")
    problems = list(report.problems)
    verdict = "[green]sound[/]" if report.sound else f"[red]{'; '.join(problems)}[/]"
    bar.console.print(
        f"{name:<14} {seconds:5.2f} s  {report.triangles:>6} triangles  {verdict}  {path}", soft_wrap=True
    )
    return problems


def _show(bar: Progress, task: TaskID, job: Job) -> None:
    bar.update(task, completed=job.progress, stage=job.stage or job.status)


def main() -> int:
    folder = Path("data") / time.strftime("demo-%Y%m%d-%H%M%S")
    console.print(f"Starting the service in {folder} …")
    failed = []
    with LocalService(folder) as service:
        console.print(f"It listens on {service.url}")
        client = service.client()
        name, stage = TextColumn("{task.description:<14}"), TextColumn("{task.fields[stage]:<10}")
        with Progress(name, BarColumn(), stage, TimeElapsedColumn(), console=console, transient=True) as bar:
            for title, pictures in examples():
                try:
                    problems = make(client, title, pictures, folder, bar)
                except MaquetteError as error:
                    problems = [str(error)]
                    bar.console.print(f"{title:<14} [red]{error}[/]")
                failed += [title] if problems else []
    if failed:
        console.print(f"[red]not sound: {', '.join(failed)}[/]; the service's log is {service.log}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
