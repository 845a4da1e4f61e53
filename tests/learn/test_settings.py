"""Settings: what the members of one model are trained with."""

from melascope.learn.settings import Artefacts, Settings


def test_members_differ():
    asked = Settings(members=4, seed=7)
    members = [asked.member(number) for number in range(asked.members)]
    assert [member.seed for member in members] == [7, 8, 9, 10]
    assert [member.artefacts for member in members] == ["none", "drawn", "none", "drawn"]
    assert {member.members for member in members} == {1}
    plain = Settings(members=2, artefacts=Artefacts.NONE)
    assert [plain.member(number).artefacts for number in range(2)] == ["none", "none"]
