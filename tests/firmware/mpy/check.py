"""The least a test runner can be: runs the functions named test_* it is given, and says which failed and why."""

import io
import sys


def equal(found, wanted):
    if found != wanted:
        raise AssertionError(f"found {found!r}, wanted {wanted!r}")


def true(found, what="it"):
    if not found:
        raise AssertionError(f"{what} should be true, and is {found!r}")


def raises(kind, function, *arguments):
    """The exception of that kind which function(*arguments) raises."""
    try:
        function(*arguments)
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} should be raised")


def run(tests):
    """`tests`: globals() of the script."""
    failed = 0
    count = 0
    for name in sorted(tests):
        if not name.startswith("test_"):
            continue
        count += 1
        try:
            tests[name]()
        except Exception as error:
            failed += 1
            text = io.StringIO()
            sys.print_exception(error, text)
            print("FAILED", name)
            print(text.getvalue())
    if failed or not count:
        print(f"{failed} of {count} failed")
    else:
        print(f"{count} tests, all passed")
