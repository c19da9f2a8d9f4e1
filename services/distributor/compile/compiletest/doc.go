// Package compiletest describes worlds in a few words for tests of the distributor, and prints compiled states for people.
//
// One object a line, attributes as key=value, lists separated by commas:
//
//	vector policy=3 discovery=7 identity=1
//	trust weft.local authorities=abc,def
//	mesh access=deny mtls=strict balancing=round_robin retry=10/5 egress=open
//	external shop/pay hosts=*.pay.example addresses=192.0.2.0/24 ports=443
//	service shop/web accounts=web,other/web ports=80:http,90>9090:tcp vip=198.18.0.1
//	workload shop/web-1 account=web services=web labels=version:v1 address=10.0.0.1 mesh=15008 ports=8080,90>9000:tcp state=unknown
//	route shop/canary service=web created=2
//	rule path=prefix:/a method=GET,POST header=x-beta:exact:1 backends=web[version:v2]*90,old*10 timeout=1s retry=2/500ms/503
//	policy shop/web account=web
//	allow from=api,*@other to=GET:prefix:/a
//
// A rule belongs to the route above it, an allow to the policy above it. etag=… is understood everywhere.
package compiletest
