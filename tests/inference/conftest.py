"""What tests of runs over many files look at."""

import json


def ledger(out):
    return json.loads((out / "predictions.json").read_text())


def statuses(result):
    return {row.case.id: row.status for row in result.rows}
