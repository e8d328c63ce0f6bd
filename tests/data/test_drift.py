import numpy as np

from toxlib.data.drift import adversarial_auc


def test_drift_is_found_where_there_is_some():
    plain = [f"the article {n} on trams" for n in range(60)]
    other = [f"los artículos {n} sobre tranvías" for n in range(60)]
    assert adversarial_auc(plain, other, seed=0) > 0.95
    assert np.isnan(adversarial_auc(plain, plain, seed=0))
