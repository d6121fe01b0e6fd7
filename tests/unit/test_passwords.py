"""Which passwords are too common."""

import pytest

from app.core.errors import Invalid
from app.domain.accounts import passwords


@pytest.mark.parametrize(
    "password",
    [
        "qwertyuiop123", "1qaz2wsx3edc", "administrator", "ADMINISTRATOR", "Sunshine2026!", "...password...", "passwordpassword",
        "aaaaaaaaaaaa", "123456789012", "121212121212", "abcabcabcabcabc", "ｐａｓｓｗｏｒｄ１２３４５６７８",
    ],
)  # fmt: skip
def test_a_common_password_is_refused(password):
    with pytest.raises(Invalid) as refused:
        passwords.make_hash(password, "ann@northline.example")
    assert (refused.value.code, refused.value.details["field"]) == ("password_is_common", "new")


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "another long password",
        "tr0ub4dor&3x9!",
        "8302 5417 9926",
        "éàüößéàüößàé",
        "\\n\n\\n\n xyzw \n",
    ],
)
def test_words_of_ones_own_are_taken_without_rules_about_their_kinds_of_characters(password):
    assert passwords.make_hash(password, "ann@northline.example").startswith("$argon2id$")
