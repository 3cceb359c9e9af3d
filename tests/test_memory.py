"""MemN2N: its formulas against a second formulation and differences, the training procedure step by step,
files.
"""

from __future__ import annotations

import copy
import math
import pickle
import sys
from pathlib import Path
from typing import Any

import fastnorm
import numpy as np
import pytest
from fastnorm import MemN2N
from numpy.typing import NDArray
from processes import succeeds

Array = NDArray[Any]
VOCAB, DIM, MEMORY, WORDS = 7, 4, 5, 3

each_tying = pytest.mark.parametrize("tying", ["adjacent", "layerwise"])
each_mode = pytest.mark.parametrize("linear", [False, True], ids=["softmax", "linear"])


def problem(rng: np.random.Generator, count: int = 4, sentences: int = 6) -> tuple[Array, Array, Array]:
    """Stories of every length, questions and answers."""
    stories = rng.integers(0, VOCAB, (count, sentences, WORDS))
    for index, story in enumerate(stories):
        story[: index % sentences] = 0
    return stories, rng.integers(0, VOCAB, (count, WORDS - 1)), rng.integers(1, VOCAB, count)


def model_of(tying: Any, hops: int = 2, **options: Any) -> MemN2N:
    model = MemN2N(VOCAB, DIM, hops, MEMORY, tying=tying, dtype=np.float64, seed=1, **options)
    for parameter in model.parameters.values():
        np.multiply(parameter, 5, out=parameter)
    return model


def loss_of(model: MemN2N, stories: Array, questions: Array, answers: Array) -> float:
    logits = model.forward(stories, questions)
    peak = logits.max(axis=1)
    total = np.log(np.exp(logits - peak[:, None]).sum(axis=1)) + peak
    return float(np.sum(total - logits[np.arange(len(answers)), answers]))


def gradients_of(model: MemN2N, stories: Array, questions: Array, answers: Array) -> dict[str, Array]:
    logits = model.forward(stories, questions)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    weights[np.arange(len(answers)), answers] -= 1
    return model.backward(weights)


def differences_are_gradients(model: MemN2N, data: tuple[Array, Array, Array]) -> bool:
    """Compare central differences of every number of every parameter with the gradients; False where a unit
    of the nonlinearity passes 0 on the way, so that there is no difference.
    """
    gradients = gradients_of(model, *data)
    assert gradients.keys() == model.parameters.keys()
    step = 3e-5
    for name, parameter in model.parameters.items():
        for index in np.ndindex(parameter.shape):
            before, losses, positive = parameter[index], [], []
            for steps in (-2, -1, 1, 2):
                parameter[index] = before + steps * step
                losses.append(loss_of(model, *data))
                assert model._saved is not None
                positive.append(np.concatenate([state > 0 for state in model._saved.states[1:]]))
            parameter[index] = before
            if model.nonlinearity and not np.array_equal(positive[0], positive[-1]):
                return False
            slope = (losses[0] - 8 * losses[1] + 8 * losses[2] - losses[3]) / (12 * step)
            assert abs(slope - gradients[name][index]) < 1e-8 * (1 + abs(slope)), (name, index)
    return True


@each_mode
@each_tying
@pytest.mark.parametrize(
    "options",
    [{}, {"position_encoding": False}, {"temporal": False}, {"nonlinearity": True}],
    ids=["plain", "bag of words", "no ages", "relu"],
)
def test_gradients(
    tying: Any, linear: bool, options: dict[str, Any], backend: str, rng: np.random.Generator
) -> None:
    """Central differences of every number of every parameter, by five points: an error of step**4 and 1e-16 /
    step. There is no difference where a unit of the nonlinearity passes 0 on the way.
    """
    model = model_of(tying, **options)
    model.linear = linear
    assert any(differences_are_gradients(model, problem(rng)) for _ in range(10))


@each_mode
@each_tying
def test_forward_word_by_word(tying: Any, linear: bool, backend: str, rng: np.random.Generator) -> None:
    """The paper's equations, one sentence and one word at a time."""
    stories, questions, _ = problem(rng)
    model = model_of(tying, hops=3)
    model.linear = linear
    p = model.parameters
    length = WORDS + 1  # the age is the last word

    def encoding(j: int) -> Array:
        k = np.arange(1, DIM + 1)
        return 1 + 4 * (k - (DIM + 1) / 2) * (j - (length + 1) / 2) / (DIM * length)

    def sentence(table: Array, words: Any) -> Array:
        return sum((encoding(j) * table[word] for j, word in enumerate(words, 1)), np.zeros(DIM))

    read_by = model.attention(stories, questions)
    assert read_by.shape == (len(stories), 3, MEMORY)
    results = model.forward(stories, questions), read_by
    for story, question, logits, attended in zip(stories, questions, *results, strict=True):
        told = [list(words) for words in story[-MEMORY:] if any(words)]
        told = [[*words, VOCAB - 1 + len(told) - number] for number, words in enumerate(told)]
        u = sentence(p["embedding_0" if tying == "adjacent" else "question"], question)
        for hop in range(3):
            look, take = (
                (p[f"embedding_{hop}"], p[f"embedding_{hop + 1}"])
                if tying == "adjacent"
                else (p["input"], p["output"])
            )
            scores = np.array([u @ sentence(look, words) for words in told] + [0.0] * (MEMORY - len(told)))
            weights = scores if linear else np.exp(scores) / np.exp(scores).sum()
            # The most recent sentence stands last.
            np.testing.assert_allclose(attended[hop], np.roll(weights, -len(told)), rtol=1e-12, atol=1e-12)
            read = sum(
                (w * sentence(take, words) for w, words in zip(weights, told, strict=False)), np.zeros(DIM)
            )
            u = (u if tying == "adjacent" else p["hop"] @ u) + read
        expected = p["embedding_3" if tying == "adjacent" else "answer"] @ u
        np.testing.assert_allclose(logits, expected, rtol=1e-12, atol=1e-12)


def test_position_encoding_of_the_authors() -> None:
    encoding = MemN2N(VOCAB, 4, 1, MEMORY)._encoding(3)
    expected = [[1.5, 1, 0.5], [1.166667, 1, 0.833333], [0.833333, 1, 1.166667], [0.5, 1, 1.5]]
    np.testing.assert_allclose(encoding.T, expected, atol=1e-6)


def test_only_the_last_sentences_count(backend: str, rng: np.random.Generator) -> None:
    stories, questions, _ = problem(rng, sentences=9)
    stories[:, -MEMORY:] = np.maximum(stories[:, -MEMORY:], 1)
    model = model_of("adjacent")
    expected = model.forward(stories, questions)
    stories[:, :-MEMORY] = 1
    np.testing.assert_array_equal(model.forward(stories, questions), expected)
    np.testing.assert_array_equal(model.forward(stories[:, -MEMORY:], questions), expected)


@each_tying
def test_the_learning_rate_and_the_linear_start(tying: Any, rng: np.random.Generator) -> None:
    data = problem(rng, 40)
    model, told, taken = model_of(tying), [], []
    descend = model._descend

    def noted(gradients: Any, learning_rate: float, clip: float) -> None:
        taken.append((model.linear, learning_rate))
        descend(gradients, learning_rate, clip)

    model._descend = noted  # type: ignore[method-assign]
    options: dict[str, Any] = {
        "epochs": 5,
        "decay_every": 2,
        "linear_start": 2,
        "learning_rate": 0.008,
        "batch_size": 8,
    }
    history = model.fit(*data, **options, seed=0, progress=told.append)
    assert told == history
    assert [epoch.number for epoch in history] == [1, 2, 3, 4, 5, 6, 7]
    batches = len(taken) // 7
    assert [linear for linear, _ in taken] == [True] * 2 * batches + [False] * 5 * batches
    assert [rate for _, rate in taken[::batches]] == [0.008] * 3 + [0.004] * 2 + [0.002] * 2


@each_tying
def test_a_step_is_that_of_the_sum_clipped(tying: Any, rng: np.random.Generator) -> None:
    """One batch: gradients of the summed loss, each matrix to a spectral norm of at most `clip`; word 0 stays
    zero.
    """
    data = problem(rng, 6)
    model = model_of(tying)
    expected = model_of(tying)
    for table in expected._embeddings:
        expected.parameters[table][0] = 0
    batch = np.random.default_rng(3).integers(0, 6, 6)
    gradients = gradients_of(expected, *(part[batch] for part in data))
    model.fit(*data, epochs=1, batch_size=6, learning_rate=0.1, clip=0.5, validation=0.0, seed=3)
    clipped = 0
    for name, gradient in gradients.items():
        norm = np.sqrt(np.linalg.eigvalsh(gradient.T @ gradient).max())
        clipped += norm > 0.5
        after = expected.parameters[name] - 0.1 * gradient * min(1, 0.5 / norm)
        if name in expected._embeddings:
            after[0] = 0
        np.testing.assert_allclose(model.parameters[name], after, rtol=1e-12, atol=1e-12)
    assert clipped > 0


def test_noise_moves_ages_and_keeps_their_order() -> None:
    model = MemN2N(VOCAB, DIM, 1, 30)
    stories = np.ones((200, 30, 1), int)
    stories[:, :10] = 0
    plain = model._memory(stories)[:, :, -1]
    np.testing.assert_array_equal(plain[0, 10:], VOCAB - 1 + np.arange(20, 0, -1))
    assert not plain[:, :10].any()
    sentences = model._memory(stories)
    model._move_ages(sentences, np.random.default_rng(0), 0.1)
    noisy = sentences[:, :, -1]
    assert not noisy[:, :10].any()
    assert (np.diff(noisy[:, 10:]) < 0).all()
    moved = (noisy[:, 10:] - plain[:, 10:]).max(axis=1)
    assert set(moved) == {0, 1, 2}  # at most a tenth of twenty


def test_it_learns(backend: str) -> None:
    """Which of three words stood in the last sentence that has the asked first word."""
    rng = np.random.default_rng(0)
    stories = np.stack([rng.integers(1, 4, (300, 6)), rng.integers(4, 7, (300, 6))], axis=2)
    questions = stories[np.arange(300), rng.integers(0, 6, 300), 0][:, None]
    same = stories[:, :, 0] == questions
    last = 5 - np.argmax(same[:, ::-1], axis=1)
    answers = stories[np.arange(300), last, 1]
    model = MemN2N(7, 10, 2, 6, seed=0)
    history = model.fit(stories, questions, answers, epochs=40, linear_start=5, learning_rate=0.02, seed=0)
    assert history[-1].loss < 0.5 * history[0].loss
    assert np.mean(model.predict(stories, questions) == answers) > 0.85


@each_tying
def test_a_file_holds_all_of_a_model(tying: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    stories, questions, _ = problem(rng)
    model = model_of(tying, position_encoding=False, nonlinearity=True)
    model.save(tmp_path / "model")
    loaded = MemN2N.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.forward(stories, questions), model.forward(stories, questions))
    with np.load(tmp_path / "model", allow_pickle=False) as file:
        assert set(file) == {"settings", *model.parameters}


def test_bad_arguments(rng: np.random.Generator) -> None:
    stories, questions, answers = problem(rng)
    model = model_of("adjacent")
    calls: list[tuple[type[Exception], str, Any]] = [
        (ValueError, "tying", lambda: MemN2N(VOCAB, DIM, 1, MEMORY, tying="both")),  # type: ignore[arg-type]
        (ValueError, "hops", lambda: MemN2N(VOCAB, DIM, 0, MEMORY)),
        (TypeError, "dim", lambda: MemN2N(VOCAB, 2.0, 1, MEMORY)),  # type: ignore[arg-type]
        (TypeError, "dtype", lambda: MemN2N(VOCAB, DIM, 1, MEMORY, dtype=np.float16)),
        (ValueError, "stories has id 7", lambda: model.forward(stories + 1, questions)),
        (ValueError, "questions has id -1", lambda: model.forward(stories, questions - 1)),
        (TypeError, "stories has dtype", lambda: model.forward(stories * 1.0, questions)),
        (ValueError, "stories has 2 axes", lambda: model.forward(stories[0], questions)),
        (ValueError, "questions has length 3", lambda: model.forward(stories, questions[1:])),
        (ValueError, "questions has 4 words", lambda: model.forward(stories, np.zeros((4, 4), int))),
        (ValueError, "answers has length 3", lambda: model.fit(stories, questions, answers[1:], epochs=1)),
        (ValueError, "batch_size is 32", lambda: model.fit(stories, questions, answers, epochs=1)),
        (ValueError, "backward needs a forward", lambda: model.backward(np.zeros((4, VOCAB)))),
    ]
    for error, message, call in calls:
        with pytest.raises(error, match=message):
            call()


def test_the_validation_error_is_that_of_the_last_questions(rng: np.random.Generator) -> None:
    stories, questions, answers = problem(rng, 50)
    model = model_of("adjacent")
    (epoch,) = model.fit(stories, questions, answers, epochs=1, batch_size=8, seed=0)
    wrong = np.mean(model.predict(stories[45:], questions[45:]) != answers[45:])
    assert epoch.validation == wrong
    assert math.isnan(
        model.fit(stories, questions, answers, epochs=1, batch_size=8, validation=0.0)[0].validation
    )
    assert fastnorm.MemN2N is MemN2N


@each_tying
def test_backward_is_of_the_last_forward(tying: Any, backend: str, rng: np.random.Generator) -> None:
    """Whatever was predicted since."""
    stories, questions, _ = problem(rng, 300)
    model = model_of(tying)
    dlogits = rng.standard_normal(model.forward(stories, questions).shape)
    wanted = model.backward(dlogits)
    model.predict(stories[::-1], questions[::-1])
    model.attention(stories[::-1], questions[::-1])
    got = model.backward(dlogits)
    for name, gradient in wanted.items():
        np.testing.assert_array_equal(got[name], gradient)


def test_fit_leaves_the_last_forward_alone(backend: str, rng: np.random.Generator) -> None:
    stories, questions, answers = problem(rng, 50)
    model = model_of("adjacent")
    dlogits = np.ones_like(model.forward(stories, questions))
    wanted = model.backward(dlogits)
    model.fit(stories, questions, answers, epochs=1, learning_rate=0.0, seed=0)
    for name, gradient in model.backward(dlogits).items():
        np.testing.assert_array_equal(gradient, wanted[name])


@each_tying
def test_pickles_hold_no_batch(tying: Any, rng: np.random.Generator) -> None:
    stories, questions, _ = problem(rng, 1000)
    model = model_of(tying)
    logits = model.forward(stories, questions)
    assert len(pickle.dumps(model)) < 10_000
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        with pytest.raises(ValueError, match="backward needs a forward"):
            again.backward(logits)
        np.testing.assert_array_equal(again.forward(stories, questions), logits)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_mapped_models(mode: str, backend: str, tmp_path: Path, rng: np.random.Generator) -> None:
    joblib = pytest.importorskip("joblib")
    stories, questions, answers = problem(rng, 50)
    model = model_of("adjacent")
    joblib.dump(model, tmp_path / "model")
    again = joblib.load(tmp_path / "model", mmap_mode=mode)
    np.testing.assert_array_equal(again.predict(stories, questions), model.predict(stories, questions))
    if mode == "r":
        with pytest.raises(ValueError, match=r"MemN2N: parameters\['embedding_0'\] is read-only, needs"):
            again.fit(stories, questions, answers, epochs=1)
        return
    for one in (model, again):
        one.fit(stories, questions, answers, epochs=2, seed=0)
    for name, array in model.parameters.items():
        np.testing.assert_array_equal(again.parameters[name], array)


BAD_FITS: list[tuple[str, Any, type[Exception]]] = [
    *(("batch_size", value, ValueError) for value in (0, -1, 2**70, 46)),
    *((name, 1.5, TypeError) for name in ("batch_size", "epochs", "decay_every", "linear_start")),
    *((name, -1, ValueError) for name in ("epochs", "decay_every", "linear_start")),
    ("decay_every", 0, ValueError),
    *(
        (name, value, ValueError)
        for name in ("learning_rate", "decay", "noise", "clip", "validation")
        for value in (-0.5, math.nan, -math.inf, 10**400)
    ),
    *((name, "a", TypeError) for name in ("learning_rate", "decay", "noise", "clip", "validation", "seed")),
    *((name, 1.5, ValueError) for name in ("noise", "validation")),
    ("validation", 1.0, ValueError),
    ("seed", -1, ValueError),
    ("progress", 3, TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), BAD_FITS, ids=str)
def test_bad_fits(name: str, value: Any, error: type[Exception], rng: np.random.Generator) -> None:
    stories, questions, answers = problem(rng, 50)
    model = model_of("adjacent")
    before = {key: array.copy() for key, array in model.parameters.items()}
    argument = "batch_size" if name == "validation" and value == 1 else name
    with pytest.raises(error, match=f"MemN2N: {argument} .*needs"):
        model.fit(stories, questions, answers, **{"epochs": 1, name: value})
    for key, array in model.parameters.items():
        np.testing.assert_array_equal(array, before[key])
    assert model.linear is False


def test_infinite_clip_and_no_epochs(rng: np.random.Generator) -> None:
    stories, questions, answers = problem(rng, 50)
    models = [model_of("adjacent") for _ in range(2)]
    for model, clip in zip(models, (math.inf, 1e300), strict=True):
        model.fit(stories, questions, answers, epochs=1, clip=clip, seed=0)
    for name, array in models[0].parameters.items():
        np.testing.assert_array_equal(models[1].parameters[name], array)
    assert models[0].fit(stories, questions, answers, epochs=0) == []


def test_bad_settings() -> None:
    for sizes in (
        (2**70, 3, 1, 1),
        (20, 3, 1, 2**62),
        (20, 3, 10**30, 2),
        (20, 2**40, 1, 1),
        (2**62, 1, 1, 1),
    ):
        with pytest.raises(ValueError, match=r"MemN2N: .*needs"):
            MemN2N(*sizes)
    bad_options: list[tuple[str, Any, type[Exception]]] = [
        ("seed", "x", TypeError),
        ("seed", -1, ValueError),
        ("temporal", 1, TypeError),
        ("position_encoding", "yes", TypeError),
        ("nonlinearity", None, TypeError),
        ("tying", 3, TypeError),
        ("dtype", "bogus", TypeError),
        ("dtype", int, TypeError),
    ]
    for name, value, error in bad_options:
        with pytest.raises(error, match=rf"MemN2N: {name} .*needs"):
            MemN2N(VOCAB, DIM, 1, MEMORY, **{name: value})
    assert MemN2N(VOCAB, DIM, 1, MEMORY, dtype=">f4").dtype == np.dtype(np.float32)


def test_masked_arrays_are_refused(rng: np.random.Generator) -> None:
    stories, questions, answers = problem(rng)
    model = model_of("adjacent")
    logits = model.forward(stories, questions)
    masked = [np.ma.masked_array(array, mask=True) for array in (stories, questions, answers, logits)]
    for call in (
        lambda: model.forward(masked[0], questions),
        lambda: model.predict(stories, masked[1]),
        lambda: model.fit(stories, questions, masked[2], batch_size=1),
        lambda: model.backward(masked[3]),
    ):
        with pytest.raises(TypeError, match=r"MemN2N: .* is a masked array, needs"):
            call()


CHANGED_QUESTIONS = """
import threading, time
import numpy as np
import fastnorm
model = fastnorm.MemN2N(50, 8, 2, 4, seed=0)
stories, questions = np.ones((4000, 4, 5), np.int64), np.ones((4000, 5), np.int64)
stop = False
def change():
    while not stop:
        questions[...] = 2**60
        stories[...] = -(2**60)
        questions[...] = 1
        stories[...] = 1
thread = threading.Thread(target=change)
thread.start()
end, answered = time.monotonic() + 2, 0
while time.monotonic() < end:
    try:
        model.backward(model.forward(stories, questions))
        answered += 1
    except ValueError as error:
        assert "has id" in str(error), error
stop = True
thread.join()
"""


def test_questions_that_another_thread_changes(backend: str) -> None:
    """Are read once: an answer or an error, never a crash."""
    succeeds(CHANGED_QUESTIONS, FASTNORM_BACKEND=backend)


@pytest.mark.parametrize(
    "change",
    [
        lambda parameters: parameters.clear(),
        lambda parameters: parameters.update(embedding_1=None),
        lambda parameters: parameters.update(embedding_1=np.ones((3, DIM), np.float32)),
        lambda parameters: parameters.update(embedding_0=np.ones((VOCAB + MEMORY, DIM))),
        lambda parameters: parameters.update(embedding_0=np.ma.masked_array(parameters["embedding_0"])),
    ],
)
def test_replaced_parameters(change: Any, rng: np.random.Generator, tmp_path: Path) -> None:
    stories, questions, answers = problem(rng)
    for method in ("forward", "predict", "backward", "fit", "save"):
        model = MemN2N(VOCAB, DIM, 2, MEMORY, seed=0)
        logits = model.forward(stories, questions)
        change(model.parameters)
        arguments = {
            "backward": (logits,),
            "fit": (stories, questions, answers),
            "save": (tmp_path / "model",),
        }.get(method, (stories, questions))
        keywords = {"epochs": 1, "batch_size": 2} if method == "fit" else {}
        with pytest.raises((TypeError, ValueError), match=r"^MemN2N: parameters\['embedding_[01]'\] has "):
            getattr(model, method)(*arguments, **keywords)
    assert not [*tmp_path.iterdir()]


def test_a_memory_too_large_to_count(rng: np.random.Generator) -> None:
    model = MemN2N(5, 2, 1, 2**50, temporal=False)
    with pytest.raises(ValueError, match=r"^MemN2N: stories has shape \(1024, 1, 1024\), needs fewer words"):
        model.forward(np.ones((2**10, 1, 2**10), int), np.ones((2**10, 1), int))


def test_an_interrupted_fit_is_that_of_a_finished_step(rng: np.random.Generator) -> None:
    """Wherever it is interrupted, parameters are those before or after a step, and `linear` is as it was."""
    stories, questions, answers = problem(rng)
    model = MemN2N(VOCAB, DIM, 2, MEMORY, seed=0)
    arguments = {"epochs": 0, "linear_start": 1, "batch_size": 2, "validation": 0.5, "seed": 0}

    def state() -> list[bytes]:
        return [array.tobytes() for array in model.parameters.values()]

    before = copy.deepcopy(model.parameters)
    states = {tuple(state())}
    steps = model._descend

    def recorded(*given: Any) -> None:
        steps(*given)
        states.add(tuple(state()))

    model._descend = recorded  # type: ignore[method-assign]
    model.fit(stories, questions, answers, **arguments)  # type: ignore[arg-type]
    del model._descend  # type: ignore[method-assign]
    for stop in range(0, 400, 3):
        model.parameters.update(copy.deepcopy(before))
        model.linear = False
        lines = 0

        def trace(frame: Any, event: str, _: Any, stop: int = stop) -> Any:
            nonlocal lines
            if frame.f_code.co_filename.endswith("memory.py") and event == "line":
                lines += 1
                if lines > stop:
                    sys.settrace(None)
                    raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            model.fit(stories, questions, answers, **arguments)  # type: ignore[arg-type]
            break
        except KeyboardInterrupt:
            assert not model.linear
        finally:
            sys.settrace(None)
        assert tuple(state()) in states
