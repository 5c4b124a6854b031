"""Creates a load balancer in MiniStack, and writes what `aws elbv2 describe-*` prints about it.

Arguments: the endpoint, the directory to write to, and for each target group `name=port` of a target on
127.0.0.1. botocore is the library that the AWS command line consists of, so that the output is the same.
"""

import json
import os
import sys

import botocore.session

endpoint, directory, *groups = sys.argv[1:]
elb = botocore.session.get_session().create_client(
    "elbv2",
    region_name="us-east-1",
    endpoint_url=endpoint,
    aws_access_key_id="test",
    aws_secret_access_key="test",
)


def write(name, output):
    output.pop("ResponseMetadata", None)
    with open(os.path.join(directory, name + ".json"), "w") as file:
        json.dump(output, file, indent=2, default=str)


NAME = "differential"
for found in elb.describe_load_balancers().get("LoadBalancers", []):
    if found["LoadBalancerName"] == NAME:
        for listener in elb.describe_listeners(LoadBalancerArn=found["LoadBalancerArn"])["Listeners"]:
            elb.delete_listener(ListenerArn=listener["ListenerArn"])
        elb.delete_load_balancer(LoadBalancerArn=found["LoadBalancerArn"])
names = [group.split("=")[0] for group in groups]
for found in elb.describe_target_groups().get("TargetGroups", []):
    if found["TargetGroupName"] in names:
        elb.delete_target_group(TargetGroupArn=found["TargetGroupArn"])

balancer = elb.create_load_balancer(Name=NAME, Subnets=["subnet-1"])["LoadBalancers"][0]["LoadBalancerArn"]
arns = {}
for group in groups:
    name, port = group.split("=")
    created = elb.create_target_group(
        Name=name, Protocol="HTTP", Port=int(port), VpcId="vpc-1", TargetType="ip", HealthCheckPath="/check"
    )
    arns[name] = created["TargetGroups"][0]["TargetGroupArn"]
    elb.register_targets(TargetGroupArn=arns[name], Targets=[{"Id": "127.0.0.1", "Port": int(port)}])


def forward(name):
    return {"Type": "forward", "TargetGroupArn": arns[name]}


def redirect(**config):
    return {"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301", **config}}


def fixed(status, body="", content_type="text/plain"):
    config = {"StatusCode": str(status), "MessageBody": body, "ContentType": content_type}
    return {"Type": "fixed-response", "FixedResponseConfig": config}


def path(*values):
    return {"Field": "path-pattern", "PathPatternConfig": {"Values": list(values)}}


def host(*values):
    return {"Field": "host-header", "HostHeaderConfig": {"Values": list(values)}}


def header(name, *values):
    return {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": name, "Values": list(values)}}


def method(*values):
    return {"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": list(values)}}


def source(*values):
    return {"Field": "source-ip", "SourceIpConfig": {"Values": list(values)}}


listener = elb.create_listener(
    LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=[fixed(404, "default")]
)["Listeners"][0]["ListenerArn"]
RULES = [
    (10, [path("/img/*.png", "/static/?.css")], forward("blue")),
    (20, [host("api.shop.test", "*.internal.test")], forward("green")),
    (30, [header("X-Version", "canary", "beta-?")], forward("green")),
    (40, [method("PUT", "DELETE")], fixed(405, "read only")),
    (50, [path("/both/*"), method("POST")], fixed(202, "{}", "application/json")),
    (60, [path("/old/*")], redirect(Path="/new/#{path}")),
    (70, [path("/secure/*")], redirect(Protocol="HTTPS", Port="443", Host="www.#{host}")),
    (80, [path("/found")], redirect(Path="/other", Query="from=#{port}&#{query}", StatusCode="HTTP_302")),
    (90, [path("/local/*"), source("127.0.0.0/8", "::1/128")], forward("blue")),
    (100, [path("/[ab]/*")], fixed(200, "brackets")),
    (110, [header("Accept", "*html*"), path("/accept")], fixed(200, "html", "text/html")),
    (120, [path("/x/*"), header("X-Version", "*")], fixed(200, "versions")),
    (130, [host("*.shop.test"), path("/Case")], fixed(503, "case")),
    (50000, [path("/*.txt")], forward("blue")),
]
for priority, conditions, action in RULES:
    elb.create_rule(ListenerArn=listener, Priority=priority, Conditions=conditions, Actions=[action])

write("load-balancers", elb.describe_load_balancers(LoadBalancerArns=[balancer]))
write(f"load-balancer-attributes-{NAME}", elb.describe_load_balancer_attributes(LoadBalancerArn=balancer))
write("listeners", elb.describe_listeners(LoadBalancerArn=balancer))
write("rules-80", elb.describe_rules(ListenerArn=listener))
write("listener-attributes-80", elb.describe_listener_attributes(ListenerArn=listener))
# MiniStack does not know which groups a load balancer uses.
write("target-groups", elb.describe_target_groups(TargetGroupArns=list(arns.values())))
for name, arn in arns.items():
    write(f"target-group-attributes-{name}", elb.describe_target_group_attributes(TargetGroupArn=arn))
    write(f"target-health-{name}", elb.describe_target_health(TargetGroupArn=arn))
