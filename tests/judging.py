"""Single claims of a record, for tests of single criteria."""

from kadam import chapters
from kadam.report.ledger import judge_all


class Judged:
    """The claims of a record by id, judged one at a time when asked for; without each seed again where that is wanted."""

    def __init__(self, name, record, *, leave_out=False):
        self.name, self.record, self.leave_out = name, record, leave_out

    def __getitem__(self, id):
        tests = {key: test for key, test in chapters.find(self.name).part("claims").TESTS.items() if key[0] == id}
        (claim,) = judge_all(tests, self.record, profile="", notebook="", leave_out=self.leave_out)
        return claim


class Verdicts(Judged):
    """Their verdicts."""

    def __getitem__(self, id):
        return super().__getitem__(id).verdict
