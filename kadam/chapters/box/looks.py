"""The colours of chapter 8: a method or a pair of decay rates has one in all of its figures."""

from kadam.report import style

COLOURS = {
    "SignGD": style.SIGNS,
    "l_2": style.SGD,
    "Adam": style.ADAM,  # the default pair
    "equal": style.CORRECTED,
    "short": style.FIFTH,
    "above": style.SECOND,
    "unstable": style.UNSTABLE,
    "2-Adam inverse_exp": style.STRATEGIES["inverse_exp"],
    "2-Adam meta": style.STRATEGIES["meta"],
}
