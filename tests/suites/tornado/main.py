"""Runs a module of Tornado's tests, and says what came of each by the Test Anything
Protocol. Usage: main.py MODULE"""
import sys
import unittest


class Tap(unittest.TestResult):
    def say(self, test, good, rest=""):
        print(f"{'ok' if good else 'not ok'} - {test.id()}{rest}", flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.say(test, True)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.say(test, True, f" # skip {reason}")

    def addExpectedFailure(self, test, error):
        super().addExpectedFailure(test, error)
        self.say(test, True)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.say(test, False)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.say(test, False)
        print(self.failures[-1][1])

    def addError(self, test, error):
        super().addError(test, error)
        self.say(test, False)
        print(self.errors[-1][1])

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.say(subtest, False)


result = Tap()
unittest.defaultTestLoader.loadTestsFromName(sys.argv[1]).run(result)
sys.exit(0 if result.wasSuccessful() else 1)
