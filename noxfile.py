"""Tasks for developers: `nox -s tests`, `lint`, `targets`, `fuzz`, `sklearn`, `bench`, `docs`."""

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
def fuzz(session: nox.Session) -> None:
    """Make random calls with hostile arguments for a minute, or as the arguments say."""
    session.install(".[test]")
    session.run("python", "tests/fuzz_calls.py", *session.posargs)


@nox.session
@nox.parametrize(
    "versions", [["scikit-learn==1.7.0", "scipy==1.15.*", "pytest==8.*"], []], ["oldest", "newest"]
)
def sklearn(session: nox.Session, versions: list[str]) -> None:
    """Test the estimators with the oldest and the newest version of scikit-learn."""
    session.install(".[test,sklearn]", *versions)
    session.run("python", "-m", "pytest", "tests/test_sklearn.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into build/site, with warnings as errors, and follow its internal links."""
    session.install(".[docs]")
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "docs", "build/site")
    session.run("python", "docs/_ext/links.py", "build/site")


@nox.session
def bench(session: nox.Session) -> None:
    """Time every op beside NumPy and whichever peers are installed."""
    session.install(".[bench]")
    session.run("python", "-m", "pytest", "bench", *session.posargs)
