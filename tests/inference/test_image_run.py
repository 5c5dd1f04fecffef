"""What all runs over images do, whatever is predicted of them."""

import pytest

from densekit.inference.image_run import ImageRun
from densekit.inference.images import ImageCase
from densekit.inference.run import CaseResult


class Run(ImageRun):
    def facts(self, found):
        return {"count": found}


def test_the_table_appears_by_rename(tmp_path):
    cases = [ImageCase(name, (tmp_path / f"{name}.png",)) for name in "ab"]
    run = Run(None, None, tmp_path, cases, set())
    run.rows["a"] = CaseResult(cases[0], "ok", {"status": "ok", "count": 3})
    run.summarize(0)
    before = (tmp_path / "results.csv").read_text()
    assert before.splitlines() == ["image,status,result,reason", 'a.png,ok,"{""count"": 3}",', "b.png,not run,{},"]
    run.rows["b"] = CaseResult(cases[1], "ok", {"count": object()})
    with pytest.raises(TypeError):  # in the middle of the second line
        run.summarize(0)
    assert (tmp_path / "results.csv").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]
