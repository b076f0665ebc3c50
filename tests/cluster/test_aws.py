"""`cluster/gpu.yaml` as Ray's provider for AWS reads it, against moto, which admits what AWS's own schema admits."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def config(home) -> Iterator[dict]:
    """What `ray up` makes of the file before it starts a node, having made role, key, group and subnets.

    AWS is none, with an account's usual network; the home is empty and nothing waits.
    """
    with (
        pytest.MonkeyPatch.context() as patch,
        mock_aws(config={"iam": {"load_aws_managed_policies": True}}),
        warnings.catch_warnings(),
    ):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.setenv(name, "testing")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        patch.setenv("HOME", str(home))
        warnings.simplefilter("ignore")  # of Ray's own imports
        from ray.autoscaler._private.aws import config as ray_on_aws
        from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
        from ray.autoscaler._private.util import prepare_config, validate_config

        patch.setattr(ray_on_aws.time, "sleep", lambda _: None)
        config = AWSNodeProvider.fillout_available_node_types_resources(prepare_config(read()))
        validate_config(config)
        yield AWSNodeProvider.bootstrap_config(config)


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


def test_a_head_and_a_spot_worker_start(config, home):
    head, worker = start(config, "head"), start(config, "gpu")
    assert (head["InstanceType"], worker["InstanceType"]) == ("m7i.xlarge", "g6.xlarge")
    assert head["IamInstanceProfile"]["Arn"].endswith("/ray-autoscaler-v1")
    assert "IamInstanceProfile" not in worker
    assert worker["InstanceLifecycle"] == "spot"
    assert head["KeyName"] == worker["KeyName"]
    assert (home / ".ssh" / f"{head['KeyName']}.pem").stat().st_mode & 0o777 == 0o600
    assert head["SecurityGroups"] == worker["SecurityGroups"]


def test_the_head_may_look_up_the_image_of_its_workers_once_the_file_was_followed(config):
    """EC2 resolves `resolve:ssm:` for those who may read parameters, which the role that Ray makes may not."""
    images = {kind["node_config"]["ImageId"] for kind in config["available_node_types"].values()}
    assert all(image.startswith("resolve:ssm:/aws/service/") for image in images)
    assert not any(action.startswith("ssm:Get") for action in allowed("ray-autoscaler-v1"))
    text = (ROOT / "cluster" / "gpu.yaml").read_text()
    role, policy = re.search(
        r"aws iam attach-role-policy --role-name (\S+) --policy-arn (\S+)", text
    ).groups()
    boto3.client("iam").attach_role_policy(RoleName=role, PolicyArn=policy)
    assert {"ssm:Get*", "ssm:GetParameters"} & allowed("ray-autoscaler-v1")


def test_ray_knows_what_a_worker_brings_before_one_has_come(config):
    types = config["available_node_types"]
    assert types["gpu"]["resources"]["GPU"] == 1
    assert types["head"]["resources"]["GPU"] == 0


def test_no_port_is_open_from_outside_but_ssh(config):
    group = start(config, "head")["SecurityGroups"][0]
    assert group["GroupName"] == read()["provider"]["security_group"]["GroupName"]
    region = config["provider"]["region"]
    (found,) = ec2(region).describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"]
    outside = [rule for rule in found["IpPermissions"] if any(rule.get(kind) for kind in ADDRESS)]
    assert [(rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in outside] == [("tcp", 22, 22)]
    within = [pair["GroupId"] for rule in found["IpPermissions"] for pair in rule["UserIdGroupPairs"]]
    assert within == [group["GroupId"]]


def test_a_key_that_aws_does_not_know_is_seen(config):
    wrong = copy.deepcopy(config)
    wrong["available_node_types"]["gpu"]["node_config"]["InstanceMarketOption"] = {"MarketType": "spot"}
    with pytest.raises(ParamValidationError, match="InstanceMarketOption"):
        start(wrong, "gpu")
