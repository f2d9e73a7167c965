"""Properties in a template take effect: each service's own API returns them.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-template-resource-type-ref.html
"""

import json
from typing import Any

import pytest

from tests.support.embedded_aws import EmbeddedAws

ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {
        "AssumeRolePolicyDocument": {
            "Statement": [{"Effect": "Allow", "Principal": {"Service": "*"}, "Action": "sts:AssumeRole"}]
        }
    },
}
CODE = {"ZipFile": "def handler(event, context):\n    return 'hello'\n"}


def function(**properties: Any) -> dict[str, Any]:
    defaults = {
        "Runtime": "python3.14",
        "Handler": "index.handler",
        "Role": {"Fn::GetAtt": ["Role", "Arn"]},
        "Code": CODE,
    }
    return {"Type": "AWS::Lambda::Function", "Properties": defaults | properties}


@pytest.fixture(scope="module")
def buckets(cloud: EmbeddedAws) -> dict[str, str]:
    rules = [
        {
            "Id": "all",
            "Status": "Enabled",
            "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        },
        {
            "Id": "tmp",
            "Status": "Enabled",
            "Prefix": "tmp/",
            "ExpirationInDays": 2,
        },
    ]
    encryption = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": {"Ref": "Key"}}}
    retention = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}}
    return cloud.stack(
        "buckets",
        {
            "Key": {"Type": "AWS::KMS::Key", "Properties": {"EnableKeyRotation": True, "KeyPolicy": {}}},
            "Alias": {"Type": "AWS::KMS::Alias", "Properties": {"AliasName": "alias/b", "TargetKeyId": {"Ref": "Key"}}},
            "Logs": {"Type": "AWS::S3::Bucket"},
            "Bucket": {
                "Type": "AWS::S3::Bucket",
                "Properties": {
                    "BucketEncryption": {
                        "ServerSideEncryptionConfiguration": [encryption | {"BucketKeyEnabled": True}]
                    },
                    "LifecycleConfiguration": {"Rules": rules},
                    "LoggingConfiguration": {"DestinationBucketName": {"Ref": "Logs"}, "LogFilePrefix": "b/"},
                    "ObjectLockEnabled": True,
                    "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled", "Rule": retention},
                    "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
                    "PublicAccessBlockConfiguration": {"BlockPublicAcls": True},
                    "Tags": [{"Key": "team", "Value": "data"}],
                    "VersioningConfiguration": {"Status": "Enabled"},
                },
            },
        },
    )


def test_encryption_of_a_bucket(cloud: EmbeddedAws, buckets: dict[str, str]) -> None:
    deployed = cloud.s3.get_bucket_encryption(Bucket=buckets["Bucket"])["ServerSideEncryptionConfiguration"]["Rules"]
    assert deployed == [
        {
            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": buckets["Key"]},
            "BucketKeyEnabled": True,
        }
    ]
    put = cloud.s3.put_object(Bucket=buckets["Bucket"], Key="a", Body=b"1")
    assert put["SSEKMSKeyId"] == buckets["Key"]


def test_lifecycle_of_a_bucket(cloud: EmbeddedAws, buckets: dict[str, str]) -> None:
    first, second = cloud.s3.get_bucket_lifecycle_configuration(Bucket=buckets["Bucket"])["Rules"]
    assert first["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert first["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert second["Filter"] == {"Prefix": "tmp/"}
    assert second["Expiration"] == {"Days": 2}


def test_object_lock_of_a_bucket(cloud: EmbeddedAws, buckets: dict[str, str]) -> None:
    name = buckets["Bucket"]
    deployed = cloud.s3.get_object_lock_configuration(Bucket=name)["ObjectLockConfiguration"]
    assert deployed == {
        "ObjectLockEnabled": "Enabled",
        "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}},
    }
    assert cloud.s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"


def test_logging_ownership_access_and_tags_of_a_bucket(cloud: EmbeddedAws, buckets: dict[str, str]) -> None:
    name = buckets["Bucket"]
    assert cloud.s3.get_bucket_logging(Bucket=name)["LoggingEnabled"] == {
        "TargetBucket": buckets["Logs"],
        "TargetPrefix": "b/",
    }
    owner = cloud.s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]
    assert owner == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert cloud.s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]["BlockPublicAcls"]
    assert cloud.s3.get_bucket_tagging(Bucket=name)["TagSet"] == [{"Key": "team", "Value": "data"}]
    assert cloud.keys.get_key_rotation_status(KeyId=buckets["Key"])["KeyRotationEnabled"]
    assert cloud.keys.describe_key(KeyId="alias/b")["KeyMetadata"]["KeyId"] == buckets["Key"]


def delete(cloud: EmbeddedAws, stack: str) -> str:
    arn = cloud.stacks.describe_stacks(StackName=stack)["Stacks"][0]["StackId"]
    cloud.stacks.delete_stack(StackName=stack)
    while (status := cloud.stack_end(arn)) is None:
        pass
    return status


def test_a_bucket_that_is_not_empty_is_not_deleted(cloud: EmbeddedAws) -> None:
    name = cloud.stack("full", {"Bucket": {"Type": "AWS::S3::Bucket"}})["Bucket"]
    cloud.s3.put_object(Bucket=name, Key="a", Body=b"1")
    assert delete(cloud, "full") == "DELETE_FAILED"
    assert cloud.s3.head_object(Bucket=name, Key="a")


def test_properties_of_a_function(cloud: EmbeddedAws) -> None:
    definition = function(
        Architectures=["arm64"],
        KmsKeyArn={"Fn::GetAtt": ["Key", "Arn"]},
        LoggingConfig={"LogFormat": "JSON", "LogGroup": {"Ref": "Group"}},
        ReservedConcurrentExecutions=5,
    )
    config = {
        "FunctionName": {"Ref": "Function"},
        "Qualifier": "$LATEST",
        "MaximumRetryAttempts": 1,
        "DestinationConfig": {"OnFailure": {"Destination": {"Fn::GetAtt": ["Queue", "Arn"]}}},
    }
    resources = {
        "Role": ROLE,
        "Key": {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {}}},
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Group": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/own/logs", "RetentionInDays": 7}},
        "Function": definition,
        "Config": {"Type": "AWS::Lambda::EventInvokeConfig", "Properties": config},
    }
    name = cloud.stack("function", resources)["Function"]
    deployed = cloud.functions.get_function_configuration(FunctionName=name)
    assert deployed["Runtime"] == "python3.14"
    assert deployed["Architectures"] == ["arm64"]
    assert ":kms:" in deployed["KMSKeyArn"]
    assert deployed["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": "/own/logs"}
    assert cloud.functions.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 5
    assert cloud.functions.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 5}
    assert cloud.functions.get_function_event_invoke_config(FunctionName=name)["MaximumRetryAttempts"] == 1
    groups = cloud.logs.describe_log_groups(logGroupNamePrefix="/own/logs")["logGroups"]
    assert [group.get("retentionInDays") for group in groups] == [7]
    assert cloud.call(name) == "hello"

    del definition["Properties"]["ReservedConcurrentExecutions"]
    cloud.stacks.update_stack(
        StackName="function", TemplateBody=json.dumps({"Resources": resources}), Capabilities=["CAPABILITY_IAM"]
    )
    cloud.stacks.get_waiter("stack_update_complete").wait(StackName="function", WaiterConfig={"Delay": 1})
    assert "ReservedConcurrentExecutions" not in cloud.functions.get_function_concurrency(FunctionName=name)


def test_properties_of_a_state_machine(cloud: EmbeddedAws) -> None:
    definition = {"StartAt": "${First}", "States": {"${First}": {"Type": "Succeed"}}}
    group = {"CloudWatchLogsLogGroup": {"LogGroupArn": {"Fn::GetAtt": ["Group", "Arn"]}}}
    properties = {
        "DefinitionString": json.dumps(definition),
        "DefinitionSubstitutions": {"First": "Done"},
        "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
        "LoggingConfiguration": {"Level": "ALL", "IncludeExecutionData": False, "Destinations": [group]},
        "TracingConfiguration": {"Enabled": True},
    }
    resources = {
        "Role": ROLE,
        "Group": {"Type": "AWS::Logs::LogGroup"},
        "Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties},
    }
    machine = cloud.stack("machine", resources)["Machine"]
    deployed = cloud.machines.describe_state_machine(stateMachineArn=machine)
    assert deployed["loggingConfiguration"]["level"] == "ALL"
    assert deployed["loggingConfiguration"]["includeExecutionData"] is False
    assert ":log-group:" in deployed["loggingConfiguration"]["destinations"][0]["cloudWatchLogsLogGroup"]["logGroupArn"]
    assert deployed["tracingConfiguration"] == {"enabled": True}
    assert cloud.run(machine)["status"] == "SUCCEEDED"


def test_properties_of_a_topic_and_an_alarm(cloud: EmbeddedAws) -> None:
    alarm = {
        "ComparisonOperator": "GreaterThanThreshold",
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "Namespace": "n",
        "MetricName": "m",
        "AlarmActions": [{"Ref": "Topic"}],
    }
    ids = cloud.stack(
        "alarms",
        {
            "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"KmsMasterKeyId": "alias/own"}},
            "Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm},
        },
    )
    attributes = cloud.topics.get_topic_attributes(TopicArn=ids["Topic"])["Attributes"]
    assert attributes["KmsMasterKeyId"] == "alias/own"
    (deployed,) = cloud.alarms.describe_alarms(AlarmNames=[ids["Alarm"]])["MetricAlarms"]
    assert deployed["AlarmActions"] == [ids["Topic"]]


def test_tagged_log_groups_are_listed_by_tag(cloud: EmbeddedAws) -> None:
    """https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html."""
    tags = [{"Key": "team", "Value": "logs"}]
    group = {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/tagged/logs", "Tags": tags}}
    cloud.stack("tagged", {"Group": group})
    listed = cloud.tags.get_resources(TagFilters=[{"Key": "team", "Values": ["logs"]}])["ResourceTagMappingList"]
    assert [resource["ResourceARN"].rpartition(":log-group:")[2] for resource in listed] == ["/tagged/logs"]
