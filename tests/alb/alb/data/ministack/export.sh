#!/usr/bin/env bash
# Makes a load balancer in MiniStack 1.5.33 and writes what `aws elbv2 describe-*` prints about it to the directory $1.
# Needs the AWS command line and a MiniStack at $AWS_ENDPOINT_URL. The rules 10, 30, 90, 110 and 120 lose parts in
# MiniStack; `rules-443-by-hand.json` has them in full.
set -euo pipefail
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1 AWS_PAGER=""
mkdir -p "$1"; D=$1

e() { aws elbv2 "$@"; }
VPC=$(aws ec2 create-vpc --cidr-block 10.0.0.0/16 --query Vpc.VpcId --output text)
S1=$(aws ec2 create-subnet --vpc-id $VPC --cidr-block 10.0.1.0/24 --availability-zone us-east-1a --query Subnet.SubnetId --output text)
S2=$(aws ec2 create-subnet --vpc-id $VPC --cidr-block 10.0.2.0/24 --availability-zone us-east-1b --query Subnet.SubnetId --output text)
LB=$(e create-load-balancer --name shop --subnets $S1 $S2 --tags Key=team,Value=shop --query 'LoadBalancers[0].LoadBalancerArn' --output text)
tg() { e create-target-group "$@" --query 'TargetGroups[0].TargetGroupArn' --output text; }
WEB=$(tg --name web --protocol HTTP --port 80 --vpc-id $VPC --target-type ip --health-check-path /health --health-check-interval-seconds 10 --health-check-timeout-seconds 4 --healthy-threshold-count 3 --unhealthy-threshold-count 3 --matcher HttpCode=200-299)
WEB2=$(tg --name web-v2 --protocol HTTP --port 80 --vpc-id $VPC --target-type ip)
GRPC=$(tg --name grpc --protocol HTTP --protocol-version GRPC --port 50051 --vpc-id $VPC --target-type ip --matcher GrpcCode=0-5 || echo "")
INST=$(tg --name instances --protocol HTTP --port 8080 --vpc-id $VPC --target-type instance)
FN=$(tg --name checkout --target-type lambda)
e register-targets --target-group-arn $WEB --targets Id=10.0.1.10,Port=8080 Id=10.0.2.10,Port=8080
e register-targets --target-group-arn $WEB2 --targets Id=10.0.1.11
e register-targets --target-group-arn $GRPC --targets Id=10.0.1.12
e register-targets --target-group-arn $INST --targets Id=i-0123456789abcdef0
e register-targets --target-group-arn $FN --targets Id=arn:aws:lambda:us-east-1:000000000000:function:checkout
e modify-load-balancer-attributes --load-balancer-arn $LB --attributes Key=idle_timeout.timeout_seconds,Value=120 Key=routing.http.drop_invalid_header_fields.enabled,Value=true Key=routing.http.xff_client_port.enabled,Value=true >/dev/null
e modify-target-group-attributes --target-group-arn $WEB --attributes Key=stickiness.enabled,Value=true Key=stickiness.type,Value=lb_cookie Key=stickiness.lb_cookie.duration_seconds,Value=3600 Key=deregistration_delay.timeout_seconds,Value=30 Key=slow_start.duration_seconds,Value=60 >/dev/null
e modify-target-group-attributes --target-group-arn $WEB2 --attributes Key=load_balancing.algorithm.type,Value=weighted_random Key=load_balancing.algorithm.anomaly_mitigation,Value=on  >/dev/null
e modify-target-group-attributes --target-group-arn $FN --attributes Key=lambda.multi_value_headers.enabled,Value=true >/dev/null
CERT=$(aws acm request-certificate --domain-name shop.example.com --query CertificateArn --output text)
CERT2=$(aws acm request-certificate --domain-name api.example.com --query CertificateArn --output text)
L80=$(e create-listener --load-balancer-arn $LB --protocol HTTP --port 80 --default-actions '[{"Type":"redirect","RedirectConfig":{"Protocol":"HTTPS","Port":"443","Host":"#{host}","Path":"/#{path}","Query":"#{query}","StatusCode":"HTTP_301"}}]' --query 'Listeners[0].ListenerArn' --output text)
L443=$(e create-listener --load-balancer-arn $LB --protocol HTTPS --port 443 --certificates CertificateArn=$CERT --ssl-policy ELBSecurityPolicy-TLS13-1-2-Res-2021-06 --default-actions Type=forward,TargetGroupArn=$WEB --query 'Listeners[0].ListenerArn' --output text)
e add-listener-certificates --listener-arn $L443 --certificates CertificateArn=$CERT2 >/dev/null || true
rule() { e create-rule --listener-arn $L443 --priority $1 --conditions "$2" --actions "$3" ${4:+--transforms "$4"} >/dev/null || echo FAILED $1; }
rule 10 '[{"Field":"host-header","HostHeaderConfig":{"Values":["api.example.com","*.api.example.com"]}},{"Field":"path-pattern","PathPatternConfig":{"Values":["/v1/*"]}}]' "[{\"Type\":\"forward\",\"ForwardConfig\":{\"TargetGroups\":[{\"TargetGroupArn\":\"$WEB\",\"Weight\":90},{\"TargetGroupArn\":\"$WEB2\",\"Weight\":10}],\"TargetGroupStickinessConfig\":{\"Enabled\":true,\"DurationSeconds\":600}}}]"
rule 20 '[{"Field":"http-header","HttpHeaderConfig":{"HttpHeaderName":"X-Canary","Values":["yes","beta*"]}},{"Field":"http-header","HttpHeaderConfig":{"HttpHeaderName":"User-Agent","Values":["*Chrome*"]}}]' "[{\"Type\":\"forward\",\"TargetGroupArn\":\"$WEB2\"}]"
rule 30 '[{"Field":"query-string","QueryStringConfig":{"Values":[{"Key":"version","Value":"2"},{"Value":"preview*"}]}},{"Field":"http-request-method","HttpRequestMethodConfig":{"Values":["GET","HEAD"]}}]' "[{\"Type\":\"forward\",\"TargetGroupArn\":\"$WEB2\"}]"
rule 40 '[{"Field":"source-ip","SourceIpConfig":{"Values":["10.0.0.0/8","2001:db8::/32"]}}]' "[{\"Type\":\"forward\",\"TargetGroupArn\":\"$INST\"}]"
rule 50 '[{"Field":"path-pattern","Values":["/checkout"]}]' "[{\"Type\":\"forward\",\"TargetGroupArn\":\"$FN\"}]"
rule 60 '[{"Field":"path-pattern","PathPatternConfig":{"Values":["/old/*"]}}]' '[{"Type":"redirect","RedirectConfig":{"Path":"/new/#{path}","StatusCode":"HTTP_302"}}]'
rule 70 '[{"Field":"path-pattern","PathPatternConfig":{"Values":["/teapot"]}}]' '[{"Type":"fixed-response","FixedResponseConfig":{"StatusCode":"418","ContentType":"text/plain","MessageBody":"short and stout"}}]'
rule 80 '[{"Field":"path-pattern","PathPatternConfig":{"Values":["/private/*"]}}]' "[{\"Type\":\"authenticate-oidc\",\"Order\":1,\"AuthenticateOidcConfig\":{\"Issuer\":\"https://idp.example.com\",\"AuthorizationEndpoint\":\"https://idp.example.com/authorize\",\"TokenEndpoint\":\"https://idp.example.com/token\",\"UserInfoEndpoint\":\"https://idp.example.com/userinfo\",\"ClientId\":\"shop\",\"ClientSecret\":\"not-a-real-secret\",\"Scope\":\"openid email\",\"SessionTimeout\":3600,\"OnUnauthenticatedRequest\":\"deny\",\"AuthenticationRequestExtraParams\":{\"prompt\":\"login\"}}},{\"Type\":\"forward\",\"Order\":2,\"TargetGroupArn\":\"$WEB\"}]"
rule 90 '[{"Field":"path-pattern","PathPatternConfig":{"Values":["/pool/*"]}}]' "[{\"Type\":\"authenticate-cognito\",\"Order\":1,\"AuthenticateCognitoConfig\":{\"UserPoolArn\":\"arn:aws:cognito-idp:us-east-1:000000000000:userpool/us-east-1_abcdefghi\",\"UserPoolClientId\":\"pool-client\",\"UserPoolDomain\":\"shop-login\"}},{\"Type\":\"forward\",\"Order\":2,\"TargetGroupArn\":\"$WEB\"}]"
rule 100 '[{"Field":"path-pattern","PathPatternConfig":{"Values":["/rewrite/*"]}}]' "[{\"Type\":\"forward\",\"TargetGroupArn\":\"$WEB\"}]" '[{"Type":"url-rewrite","UrlRewriteConfig":{"Rewrites":[{"Regex":"^/rewrite/(.*)$","Replace":"/$1"}]}},{"Type":"host-header-rewrite","HostHeaderRewriteConfig":{"Rewrites":[{"Regex":"^(.*)\\.example\\.com$","Replace":"$1.internal.example.com"}]}}]'
rule 110 '[{"Field":"path-pattern","PathPatternConfig":{"RegexValues":["^/item/[0-9]+$"]}}]' "[{\"Type\":\"forward\",\"TargetGroupArn\":\"$WEB\"}]"
rule 120 '[{"Field":"path-pattern","PathPatternConfig":{"Values":["/jwt/*"]}}]' "[{\"Type\":\"jwt-validation\",\"Order\":1,\"JwtValidationConfig\":{\"JwksEndpoint\":\"https://idp.example.com/jwks\",\"Issuer\":\"https://idp.example.com\",\"AdditionalClaims\":[{\"Format\":\"space-separated-values\",\"Name\":\"scope\",\"Values\":[\"orders\"]}]}},{\"Type\":\"forward\",\"Order\":2,\"TargetGroupArn\":\"$WEB\"}]"
rule 130 '[{"Field":"host-header","HostHeaderConfig":{"Values":["grpc.example.com"]}}]' "[{\"Type\":\"forward\",\"TargetGroupArn\":\"$GRPC\"}]"
e describe-load-balancers > $D/load-balancers.json
e describe-load-balancer-attributes --load-balancer-arn $LB > $D/load-balancer-attributes-shop.json
e describe-listeners --load-balancer-arn $LB > $D/listeners.json
for p in 80:$L80 443:$L443; do e describe-rules --listener-arn ${p#*:} > $D/rules-${p%%:*}.json; e describe-listener-attributes --listener-arn ${p#*:} > $D/listener-attributes-${p%%:*}.json || rm -f $D/listener-attributes-${p%%:*}.json; e describe-listener-certificates --listener-arn ${p#*:} > $D/listener-certificates-${p%%:*}.json || rm -f $D/listener-certificates-${p%%:*}.json; done
e describe-target-groups > $D/target-groups.json
for g in web:$WEB web-v2:$WEB2 grpc:$GRPC instances:$INST checkout:$FN; do e describe-target-health --target-group-arn ${g#*:} > $D/target-health-${g%%:*}.json; e describe-target-group-attributes --target-group-arn ${g#*:} > $D/target-group-attributes-${g%%:*}.json; done
e describe-tags --resource-arns $LB > $D/tags.json
