"""Bars for stages, and the types of those who only report."""

import io
import subprocess
import sys

from rich.console import Console

from firstsight import progress
from firstsight.progress import Display


def test_the_types_cost_nothing_to_import():
    script = "import sys, firstsight.progress, firstsight.parallel; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_bars_from_the_first_report_of_a_stage_to_its_end():
    with Display() as display:
        display("fit", 1, 4, {"loss": 0.25})
        display.stage("score")(1, 2, {})
        display("unpack", 1, 3)
        assert [(task.description, task.completed, task.total) for task in display._bars.tasks] == [
            ("fit", 1, 4),
            ("score", 1, 2),
            ("unpack", 1, 3),
        ]
        display("fit", 4, 4, {})
        display.clear("score")
        display.clear("score")  # there is none any more
        assert [task.description for task in display._bars.tasks] == ["unpack"]


def test_what_is_drawn_on_a_terminal():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with progress._bars(console, False) as bars:
        bars.add_task("fit", completed=3, total=4, losses="loss 0.25")
    drawn = console.file.getvalue()
    assert "fit" in drawn
    assert "3/4" in drawn
    assert "loss 0.25" in drawn


def test_nothing_but_lines_where_there_is_no_terminal(capsys):
    with Display() as display:
        display("fit", 1, 2, {})
        display.say("one [line]")
    assert capsys.readouterr().err == "one [line]\n"
    with Display(is_quiet=True) as display:
        display.say("nobody hears it")
    assert capsys.readouterr().err == ""
