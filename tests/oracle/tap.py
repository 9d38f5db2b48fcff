# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the unittest cases of a module and prints TAP."""

import sys
import unittest


class TapResult(unittest.TestResult):
    def __init__(self, out):
        super().__init__()
        self.out = out

    def line(self, ok, test, note=""):
        print(f"{'ok' if ok else 'not ok'} {self.testsRun} - {test.id().split('.', 1)[1]}{note}",
              file=self.out)

    def explain(self, err, test):
        for text in self._exc_info_to_string(err, test).splitlines():
            print(f"# {text}", file=self.out)

    def startTest(self, test):
        super().startTest(test)
        self.sub_failed = False

    def addSuccess(self, test):
        super().addSuccess(test)
        self.line(True, test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.line(False, test)
        self.explain(err, test)

    def addError(self, test, err):
        super().addError(test, err)
        self.line(False, test)
        self.explain(err, test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.line(True, test, f" # SKIP {reason}")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            if not self.sub_failed:
                self.line(False, test)
            self.sub_failed = True
            print(f"# in {subtest}", file=self.out)
            self.explain(err, test)


def run(module):
    """Exit status: 0 if all succeeded."""
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    print(f"1..{suite.countTestCases()}")
    result = TapResult(sys.stdout)
    suite.run(result)
    return 0 if result.wasSuccessful() else 1
