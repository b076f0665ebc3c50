"""`cluster/gpu.yaml` as Ray's provider for AWS reads it, against moto, which admits what AWS's own schema admits."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator

import boto3
import pytest
import yaml
from botocore.exceptions import ParamValidationError
from moto import mock_aws

from sweeper import ROOT

pytestmark = pytest.mark.slow
ADDRESS = ("IpRanges", "Ipv6Ranges", "PrefixListIds")


def read() -> dict:
    return yaml.safe_load((ROOT / "cluster" / "gpu.yaml").read_text())


@pytest.fixture
def aws(tmp_path, monkeypatch) -> Iterator[str]:
    """AWS that is none, with an account's usual network; the home is empty and nothing waits."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own imports
        from ray.autoscaler._private.aws import config, utils

        monkeypatch.setattr(config.time, "sleep", lambda _: None)
        for cached in (utils.client_cache, utils.resource_cache):
            cached.cache_clear()
        yield read()["provider"]["region"]


def bootstrapped(raw: dict) -> dict:
    """Return what `ray up` makes of a file before it starts a node, having made role, key, group and subnets."""
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(raw)
    config = AWSNodeProvider.fillout_available_node_types_resources(config)
    validate_config(config)
    return AWSNodeProvider.bootstrap_config(config)


def start(config: dict, kind: str) -> dict:
    """Start a node as Ray does and return what AWS says of it."""
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    head = config["head_node"] if kind == config["head_node_type"] else {}
    node = {**copy.deepcopy(head), **config["available_node_types"][kind]["node_config"]}
    tags = {"ray-node-type": "head" if head else "worker", "ray-launch-config": "x"}
    (made,) = provider.create_node(node, tags, 1)
    (reservation,) = ec2(config["provider"]["region"]).describe_instances(InstanceIds=[made])["Reservations"]
    return reservation["Instances"][0]


def ec2(region: str):
    return boto3.client("ec2", region)


def allowed(role: str) -> set[str]:
    """The actions that the policies of a role allow."""
    iam = boto3.resource("iam")
    documents = [policy.default_version.document for policy in iam.Role(role).attached_policies.all()]
    statements = [one for document in documents for one in document["Statement"] if one["Effect"] == "Allow"]
    actions = [one["Action"] for one in statements]
    return {name for action in actions for name in ([action] if isinstance(action, str) else action)}


def test_a_head_and_a_spot_worker_start(aws, tmp_path):
    config = bootstrapped(read())
    head, worker = start(config, "head"), start(config, "gpu")
    assert (head["InstanceType"], worker["InstanceType"]) == ("m7i.xlarge", "g6.xlarge")
    assert head["IamInstanceProfile"]["Arn"].endswith("/ray-autoscaler-v1")
    assert "IamInstanceProfile" not in worker
    assert worker["InstanceLifecycle"] == "spot"
    assert head["KeyName"] == worker["KeyName"]
    assert (tmp_path / ".ssh" / f"{head['KeyName']}.pem").stat().st_mode & 0o777 == 0o600
    assert head["SecurityGroups"] == worker["SecurityGroups"]


def test_the_head_may_look_up_the_image_of_its_workers_once_the_file_was_followed(aws):
    """EC2 resolves `resolve:ssm:` for those who may read parameters, which the role that Ray makes may not."""
    config = bootstrapped(read())
    images = {kind["node_config"]["ImageId"] for kind in config["available_node_types"].values()}
    assert all(image.startswith("resolve:ssm:/aws/service/") for image in images)
    assert not any(action.startswith("ssm:Get") for action in allowed("ray-autoscaler-v1"))
    text = (ROOT / "cluster" / "gpu.yaml").read_text()
    role, policy = re.search(
        r"aws iam attach-role-policy --role-name (\S+) --policy-arn (\S+)", text
    ).groups()
    boto3.client("iam").attach_role_policy(RoleName=role, PolicyArn=policy)
    assert {"ssm:Get*", "ssm:GetParameters"} & allowed("ray-autoscaler-v1")


def test_ray_knows_what_a_worker_brings_before_one_has_come(aws):
    types = bootstrapped(read())["available_node_types"]
    assert types["gpu"]["resources"]["GPU"] == 1
    assert types["head"]["resources"]["GPU"] == 0


def test_no_port_is_open_from_outside_but_ssh(aws):
    group = start(bootstrapped(read()), "head")["SecurityGroups"][0]
    assert group["GroupName"] == read()["provider"]["security_group"]["GroupName"]
    (found,) = ec2(aws).describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"]
    outside = [rule for rule in found["IpPermissions"] if any(rule.get(kind) for kind in ADDRESS)]
    assert [(rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in outside] == [("tcp", 22, 22)]
    within = [pair["GroupId"] for rule in found["IpPermissions"] for pair in rule["UserIdGroupPairs"]]
    assert within == [group["GroupId"]]


def test_a_key_that_aws_does_not_know_is_seen(aws):
    raw = read()
    raw["available_node_types"]["gpu"]["node_config"]["InstanceMarketOption"] = {"MarketType": "spot"}
    with pytest.raises(ParamValidationError, match="InstanceMarketOption"):
        start(bootstrapped(raw), "gpu")
