"""Tasks for developers: `nox -s tests`, `lint`, `targets`, `bench`."""

import nox

nox.options.sessions = ["lint", "tests"]


@nox.session
def tests(session: nox.Session) -> None:
    """Run the Python tests."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", "tests", *session.posargs)


@nox.session
def targets(session: nox.Session) -> None:
    """Run the Python tests once on each instruction set of this machine."""
    session.install(".[test]")
    listing = session.run(
        "python", "-c", "import fastnorm; print(*fastnorm.available_targets())", silent=True
    )
    for target in str(listing).split():
        env = {"FASTNORM_TARGET": target}
        session.run(
            "python", "-c", f"import fastnorm; assert fastnorm.active_target() == {target!r}", env=env
        )
        session.run("python", "-m", "pytest", "tests", "-q", *session.posargs, env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and formatting."""
    session.install(".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy", "python/fastnorm")


@nox.session
def bench(session: nox.Session) -> None:
    """Time every op beside NumPy and whichever peers are installed."""
    session.install(".[bench]")
    session.run("python", "-m", "pytest", "bench", *session.posargs)
