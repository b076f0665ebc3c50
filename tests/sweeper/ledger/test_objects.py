"""A storage in a bucket: one driver at a time, no record lost or doubled, a run's result there only when all is."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace

import pytest

from sweeper.ledger import bucket, lease, loan, segmented, segments, uris
from sweeper.ledger.bucket import Bucket, Entry, Found
from sweeper.ledger.lease import Lease, Lost
from sweeper.ledger.records import RunRecord
from sweeper.ledger.segments import Segment, Segments, current
from sweeper.models.errors import UserError


def run(number: int) -> RunRecord:
    return RunRecord(key=f"k{number}", status="done")


def keys(ledger) -> list[str]:
    return [record.key for record in ledger.records]


@pytest.fixture
def aged(monkeypatch):
    """Let a lease look older by some seconds than it is."""

    def age(seconds: float) -> None:
        get = Bucket.get
        monkeypatch.setattr(
            Bucket, "get", lambda *of: found and replace(found, age=seconds) if (found := get(*of)) else None
        )

    return age


# which storage


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://me:secret@bucket/x", r"'s3://\*\*\*@bucket/x' holds more than bucket and prefix"),
        ("s3://bucket/x?key=secret", "'s3://bucket/x' holds more than bucket and prefix"),
        (
            "gs://me:secret@bucket/x",
            r"'gs://\*\*\*@bucket/x' has scheme 'gs'; give a folder .* or s3://bucket/prefix",
        ),
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3://bucket/../../etc", "names no bucket and prefix"),
        ("s3://../x", "names no bucket"),
        (" ", "storage is empty"),
    ],
)
def test_a_uri_that_names_no_storage_is_refused_without_its_secrets(uri, said):
    with pytest.raises(UserError, match=said) as refused:
        uris.locate(uri)
    assert "secret" not in str(refused.value)


def test_a_bucket_without_boto3_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(uris, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs boto3, .*pip install 'sweeper\[s3\]'"):
        uris.locate("s3://bucket/x")


def test_a_path_has_one_address_on_every_machine(elsewhere):
    one, other = elsewhere("a"), elsewhere("b")
    assert one.root != other.root
    assert (
        one.address(one.run("k")) == other.address(other.run("k")) == f"s3://{one.bucket.name}/sweeps/runs/k"
    )
    again = uris.locate(one.address(one.run("k")))
    assert (again.bucket, again.prefix) == (one.bucket, "sweeps/runs/k/")


def test_a_store_that_refuses_or_is_away_is_told_in_a_sentence(objects, monkeypatch):
    with pytest.raises(UserError, match=r"bucket 'nobodys' cannot be used \(NoSuchBucket.*must be there"):
        uris.open_storage("s3://nobodys/x")
    monkeypatch.setattr(bucket, "ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:secret@127.0.0.1:9")
    for use in (uris.open_storage, lambda uri: uris.locate(uri).result("k")):
        with pytest.raises(UserError, match=r"EndpointConnectionError.*//\*\*\*@127.0.0.1:9"):
            use(f"s3://{objects.name}/x")


def test_nothing_leads_out_of_a_storage(elsewhere):
    storage = elsewhere("a")
    with pytest.raises(UserError, match="leads out of the storage"):
        storage.run("../../../x")
    for path in (storage.root / "runs" / ".." / ".." / "x", storage.root.parent / "x"):
        with pytest.raises(UserError, match=f"leads out of storage 's3://{storage.bucket.name}/sweeps'"):
            storage.read(path)


# the lease


def test_of_two_drivers_one_gets_the_lease(objects):
    first, second = Lease(objects, "lease", "s3://b"), Lease(objects, "lease", "s3://b")
    first.acquire()
    by = rf"storage 's3://b' is in use by process {os.getpid()} on {os.uname().nodename}; wait for it or use"
    with pytest.raises(UserError, match=by):
        second.acquire()
    first.release()
    second.acquire()
    first.release()  # it has nothing to release any more
    second.check()


def test_two_drivers_that_find_the_lease_free_at_once(objects, monkeypatch):
    late = Lease(objects, "lease", "s3://b")
    monkeypatch.setattr(
        lease, "free", lambda found: Lease(objects, "lease", "s3://b")._put(over=found.etag) is None
    )
    Lease(objects, "lease", "s3://b").acquire()
    with pytest.raises(UserError, match="is in use by process"):
        late.acquire()


def test_an_expired_lease_is_taken_over_and_its_driver_writes_no_more(objects, aged):
    first, second = Lease(objects, "lease", "s3://b"), Lease(objects, "lease", "s3://b")
    first.acquire()
    aged(lease.EXPIRES - 1)
    with pytest.raises(UserError, match="in use"):
        second.acquire()
    aged(lease.EXPIRES + 1)
    second.acquire()
    first._renewed = float("-inf")  # it slept all the while
    for _ in range(2):
        with pytest.raises(Lost, match=rf"was taken over by process {os.getpid()} on .* writes nothing more"):
            first.check()
    second.keep()


def test_a_lease_is_renewed_in_time_and_no_renewal_is_like_another(objects):
    held = Lease(objects, "lease", "s3://b")
    held.acquire()
    versions = [held.etag]
    for seconds in (lease.RENEWED - 1, 2, lease.EXPIRES):
        held._renewed -= seconds
        held.keep()
        versions.append(objects.get("lease").etag)
    assert versions[1] == versions[0]
    assert len(set(versions[1:])) == 3


def test_a_renewal_whose_answer_was_lost_counts(objects, monkeypatch):
    held, put = Lease(objects, "lease", "s3://b"), Bucket.put
    held.acquire()

    def twice(self, key, content, **condition):
        put(self, key, content, **condition)
        return put(self, key, content, **condition)

    monkeypatch.setattr(Bucket, "put", twice)
    held._renewed = float("-inf")
    held.check()
    assert held.etag == objects.get("lease").etag


@pytest.mark.parametrize(
    ("holder", "expected"),
    [
        ({"pid": os.getpid()}, False),
        ({"pid": 1}, False),
        ({"pid": 2**22 + 1}, True),  # no process has so high a number
        ({"pid": 2**22 + 1, "machine": "another"}, False),
    ],
)
def test_the_lease_of_a_process_of_this_machine_that_is_gone_is_free_at_once(holder, expected):
    content = json.dumps({"machine": lease.machine(), **holder}).encode()
    assert lease.free(Found(content, "", 1.0)) is expected


def test_a_store_that_knows_no_conditions_is_refused(objects, monkeypatch):
    put = Bucket.put
    monkeypatch.setattr(Bucket, "put", lambda self, key, content, **_: put(self, key, content))
    with pytest.raises(UserError, match="without conditional writes"):
        Lease(objects, "lease", "s3://b").acquire()


# segments


def test_a_ledger_is_what_its_segments_say_on_any_machine(elsewhere):
    ledger = elsewhere("a").open_ledger()
    ledger.lock()
    for number in range(3):
        ledger.append(run(number))
        ledger.segments.push()
    ledger.append(run(3))
    assert keys(elsewhere("b").open_ledger()) == ["k0", "k1", "k2"]
    ledger.unlock()
    other = elsewhere("b").open_ledger()
    assert other.path != ledger.path
    assert other.path.read_bytes() == ledger.path.read_bytes()
    assert [record.raw() for record in other.records] == [record.raw() for record in ledger.records]
    assert elsewhere("a").bucket.get("sweeps/ledger.lease") is None


def test_what_a_driver_had_not_brought_into_the_bucket_is_brought_by_the_next_on_its_machine(elsewhere):
    storage = elsewhere("a")
    dead = storage.open_ledger()
    dead.append = super(type(dead), dead).append
    dead.append(run(0))
    dead.segments.push()
    dead.append(run(1))  # and it was killed
    ledger = storage.open_ledger()
    ledger.lock()
    ledger.unlock()
    assert keys(elsewhere("b").open_ledger()) == ["k0", "k1"]


def test_what_the_bucket_contradicts_is_replaced(elsewhere, objects):
    here = elsewhere("a").open_ledger()
    here.lock()
    here.append(run(0))
    here.unlock()
    with here.path.open("a") as file:
        file.write(json.dumps(run(1).raw()) + "\n")  # of a driver that was killed
    there = elsewhere("b").open_ledger()
    there.lock()
    there.append(run(2))
    there.unlock()
    assert keys(elsewhere("a").open_ledger()) == ["k0", "k2"]
    objects.remove(objects.list("sweeps/"))
    assert elsewhere("a").open_ledger().records == []
    assert not here.path.exists()


def test_half_a_line_waits_for_its_end(objects, tmp_path):
    made = Segments(objects, "ledger/", tmp_path / "ledger.jsonl")
    made.path.write_text('{"a": 1}\n{"b"')
    made.push()
    made.push()
    assert [one.size for one in made.held] == [9]
    made.path.write_text('{"a": 1}\n{"b": 2}\n')
    made.push()
    assert [one.size for one in made.held] == [9, 9]


def test_a_segment_that_another_process_wrote_ends_this_one(objects, tmp_path):
    one, other = (Segments(objects, "ledger/", tmp_path / name / "ledger.jsonl") for name in "ab")
    for made in (one, other):
        made.path.parent.mkdir()
        made.path.write_text(f"{made.path}\n")
    one.push()
    with pytest.raises(Lost):
        other.push()
    again = Segments(objects, "ledger/", one.path)
    again.push()  # the same once more: the answer to the first was lost
    assert again.held == one.held


def test_a_wider_segment_stands_for_those_it_covers():
    named = [
        "00000001-00000003",
        "00000001-00000001",
        "00000003-00000003",
        "00000004-00000004",
        "00000002-00000002",
    ]
    listed = {f"ledger/{name}.jsonl": Entry(name, 1) for name in sorted(named)} | {
        "ledger/x.tmp": Entry("", 1)
    }
    assert [one.name[:17] for one in current(listed)] == ["00000001-00000003", "00000004-00000004"]


def test_many_segments_become_one_and_whoever_reads_meanwhile_finds_each_record_once(
    objects, tmp_path, monkeypatch
):
    monkeypatch.setattr(segments, "MANY", 5)
    made = Segments(objects, "ledger/", tmp_path / "ledger.jsonl")
    lines = [f'{{"line": {number}}}\n' for number in range(8)]
    for line in lines:
        with made.path.open("a") as file:
            file.write(line)
        made.push()
    reads, reader = (
        [],
        lambda: Segments(objects, "ledger/", tmp_path / f"reader{len(reads)}" / "ledger.jsonl"),
    )
    steps = {name: getattr(Bucket, name) for name in ("put", "remove")}

    def look():
        one = reader()
        one.pull()
        reads.append(one.path.read_text())

    for name, step in steps.items():
        monkeypatch.setattr(Bucket, name, lambda *of, step=step, **how: (look(), step(*of, **how), look())[1])
    late, get = reader(), Bucket.get
    late.path = tmp_path / "late" / "ledger.jsonl"
    late.beside = late.path.with_suffix(".segments")

    def merged_meanwhile(*of):  # after the listing, before the reading
        monkeypatch.setattr(Bucket, "get", get)
        made.merge()
        return get(*of)

    early = Segments(objects, "ledger/", tmp_path / "early" / "ledger.jsonl")
    early.pull()
    monkeypatch.setattr(Bucket, "get", merged_meanwhile)
    late.pull()
    early.pull()
    assert [*reads, late.path.read_text(), early.path.read_text()] == ["".join(lines)] * 6
    assert list(objects.list("ledger/")) == ["ledger/00000001-00000008.jsonl"]
    assert made.held == late.held == early.held == [Segment(1, 8, made.held[0].etag, len("".join(lines)))]
    made.merge()
    assert len(objects.list("ledger/")) == 1


def test_a_driver_whose_lease_was_taken_appends_nothing(elsewhere, aged):
    first = elsewhere("a").open_ledger()
    first.lock()
    first.append(run(0))
    first.segments.push()
    aged(lease.EXPIRES + 1)
    second = elsewhere("b").open_ledger()
    second.lock()
    second.append(run(1))
    first.lease._renewed = float("-inf")
    with pytest.raises(Lost):
        first.append(run(2))
    with pytest.raises(Lost):
        first.unlock()
    second.unlock()
    assert keys(elsewhere("c").open_ledger()) == ["k0", "k1"]


def test_a_driver_whose_segments_another_process_writes_appends_nothing_more(elsewhere, objects, monkeypatch):
    monkeypatch.setattr(segmented, "EVERY_SECONDS", 0.01)
    ledger = elsewhere("a").open_ledger()
    ledger.lock()
    objects.put("sweeps/ledger/00000001-00000001.jsonl", b"another's\n")
    ledger.append(run(0))
    ledger._follower.join(60)
    for _ in range(2):
        with pytest.raises(Lost):
            ledger.append(run(1))
    with pytest.raises(Lost):
        ledger.unlock()
    assert keys(ledger) == ["k0"]


def test_who_reads_while_a_driver_of_this_machine_is_at_work_leaves_its_file_alone(elsewhere, monkeypatch):
    monkeypatch.setattr(segmented, "EVERY_SECONDS", 3600.0)
    storage, put, seen = elsewhere("a"), Bucket.put, []
    driver = storage.open_ledger()
    driver.lock()
    driver.append(run(0))

    def read_meanwhile(*of, **how):
        etag = put(*of, **how)
        monkeypatch.setattr(Bucket, "put", put)
        driver.append(run(1))
        seen.extend(keys(storage.open_ledger()))
        return etag

    monkeypatch.setattr(Bucket, "put", read_meanwhile)
    driver.segments.push()
    driver.unlock()
    assert seen == keys(elsewhere("b").open_ledger()) == ["k0", "k1"]


def test_a_copy_that_was_lost_is_fetched_again(elsewhere):
    ledger = elsewhere("a").open_ledger()
    ledger.lock()
    ledger.append(run(0))
    ledger.unlock()
    ledger.path.unlink()
    assert keys(elsewhere("a").open_ledger()) == ["k0"]


# runs


@pytest.fixture
def brought(monkeypatch):
    """The keys of what was brought into the bucket, in order."""
    found, upload = [], Bucket.upload

    def noted(self, path, key):
        upload(self, path, key)
        found.append(key)

    monkeypatch.setattr(Bucket, "upload", noted)
    return found


def test_a_runs_result_is_there_last_and_what_did_not_change_is_not_brought_again(elsewhere, brought):
    storage = elsewhere("a")
    storage.write(storage.run("k") / "run.json", {"order": 1})
    with storage.lend(storage.run("k")) as folder:
        assert json.loads((folder / "run.json").read_text()) == {"order": 1}
        for name in ("a.npz", "result.json", "z.npz"):
            (folder / name).write_text('{"status": "done"}')
        (folder / ".z.npz.17").write_text("half")
    assert not folder.exists()
    assert sorted(brought[:2]) == ["sweeps/runs/k/a.npz", "sweeps/runs/k/z.npz"]
    assert brought[2:] == ["sweeps/runs/k/result.json"]
    assert storage.result("k") == {"status": "done"}
    assert storage.files(storage.run("k")).keys() == {
        storage.run("k") / name for name in ("a.npz", "result.json", "run.json", "z.npz")
    }


def test_a_checkpoint_is_brought_while_its_run_goes_on_and_removed_with_it(elsewhere, brought, monkeypatch):
    monkeypatch.setattr(loan, "EVERY_SECONDS", 0.01)
    storage, there, upload = elsewhere("a"), threading.Event(), Bucket.upload
    monkeypatch.setattr(Bucket, "upload", lambda *of: (upload(*of), there.set()))

    def interrupted():
        with storage.lend(storage.run("k")) as folder:
            folder.mkdir()
            (folder / "curve.json").write_text("[]")
            (folder / "checkpoint.pt").write_text("epoch 1")
            assert there.wait(60)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert brought == ["sweeps/runs/k/checkpoint.pt"]
    other = elsewhere("b")
    with other.lend(other.run("k")) as folder:
        assert (folder / "checkpoint.pt").read_text() == "epoch 1"
        (folder / "checkpoint.pt").unlink()
        (folder / "result.json").write_text("{}")
    assert list(storage.bucket.list("sweeps/runs/k/")) == ["sweeps/runs/k/result.json"]


def test_one_object_is_lent_without_those_whose_names_begin_like_it(elsewhere):
    storage = elsewhere("a")
    for name in ("abc", "abcd"):
        storage.bucket.put(f"sweeps/trainings/{name}.pt", name.encode())
    storage.bucket.put("sweeps/trainings/abc.pt.old", b"")
    with storage.lend(storage.training("abc")) as path:
        assert path.read_text() == "abc"
        assert [other.name for other in path.parent.iterdir()] == ["abc.pt"]
        path.write_text("more")
    assert storage.bucket.get("sweeps/trainings/abc.pt").content == b"more"


def test_a_folder_is_removed_without_those_whose_names_begin_like_it(elsewhere):
    storage = elsewhere("a")
    for key in ("k1", "k10"):
        storage.write(storage.run(key) / "run.json", {})
    storage.remove(storage.run("k1"))
    assert (storage.order("k1"), storage.order("k10")) == (None, {})
