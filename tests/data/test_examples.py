import numpy as np

from toxlib.data.examples import Examples, join_examples


def test_joined_examples_keep_order_and_weights():
    plain = Examples(["a", "b"], np.array([[0], [1]]), ids=["1", "2"])
    soft = Examples(["c"], np.array([[0.7]]), ids=["3"], weights=np.array([0.5]))
    both = join_examples([plain, soft])
    assert (list(both.texts), list(both.ids)) == (["a", "b", "c"], ["1", "2", "3"])
    assert both.labels.ravel().tolist() == [0, 1, 0.7]
    assert both.weights.tolist() == [1, 1, 0.5]
    assert join_examples([plain, Examples(["c"], np.array([[0]]))]).ids is None


def test_one_part_is_not_copied():
    plain = Examples(["a"], np.array([[0]]))
    assert join_examples([plain]) is plain
