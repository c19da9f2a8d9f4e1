package gateway

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/gateway/access"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
)

// audit writes what came of a call into the audit log, when it changed something, was meant to, or was not allowed.
func (s *Service) audit(ctx context.Context, c *call, st *status.Status) {
	switch refused := st.Code() == codes.PermissionDenied || c.method.writes && st.Code() == codes.Unauthenticated; {
	case !c.method.writes && !refused, c.dry && !refused, st.Code() == codes.ResourceExhausted:
		return
	case refused && s.limits.Refused(c.who.ID) != nil: // a flood of refusals must not drive out what was done
		s.muted.Inc()
		return
	}
	e := &adminpb.AuditEvent{
		RequestId: c.origin.requestID, Time: timestamppb.New(s.deps.Now()), Principal: c.who.ID, Credential: c.who.Credential,
		Role: identitypb.Role(roleOf(c)), Method: c.name, Address: c.origin.address, Code: st.Code().String(), RepeatedAnswer: c.repeated,
	}
	if st.Code() != codes.OK {
		e.Message = clip(st.Message())
	}
	for _, o := range c.objects {
		e.Objects = append(e.Objects, &typepb.ObjectRef{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name})
	}
	if len(c.response) > 0 && c.method.output != nil {
		response := c.method.output.New().Interface()
		if proto.Unmarshal(c.response, response) == nil {
			learn(e, c.method.rule, response)
		}
	}
	if r, ok := c.request.(*identitypb.CreateHostTokenRequest); ok && e.GetMessage() == "" { // what it may do is in the request only
		e.Message = hostText(r.GetScope())
	}
	s.log.Write(ctx, e)
}

// roleOf is the highest role that the caller had where the call went: the least of all places.
func roleOf(c *call) model.Role {
	role := c.who.Anywhere()
	for _, o := range c.objects {
		if o.Namespace == "" {
			role = min(role, c.who.Everywhere())
		} else {
			role = min(role, c.who.In(o.Namespace))
		}
	}
	return role
}

// learn adds what an answer says of the change: which version was made, and at which revision. Nothing else of it is looked at:
// it may hold a secret.
func learn(e *adminpb.AuditEvent, rule access.Rule, response proto.Message) {
	switch r := response.(type) {
	case *adminpb.ApplyResponse:
		e.Revisions = r.GetRevisions().GetRevisions()
		e.Objects = nil
		for _, o := range r.GetObjects() {
			e.Objects = append(e.Objects, o.GetObject())
			if o.GetAction() == adminpb.ApplyAction_APPLY_ACTION_FAILED && e.GetMessage() == "" {
				e.Message = clip(o.GetObject().GetKind() + " " + o.GetObject().GetNamespace() + "/" + o.GetObject().GetName() + ": " + o.GetError())
			}
		}
		return
	case *identitypb.CreateHostTokenResponse: // the id is that of the credential that it will be redeemed for
		e.Objects = []*typepb.ObjectRef{{Kind: rule.Kind, Name: r.GetCredentialId()}}
		return
	case *identitypb.CreateAdminTokenResponse:
		e.Objects = []*typepb.ObjectRef{{Kind: rule.Kind, Name: r.GetAdminToken().GetId()}}
		if grant, err := modelpb.GrantFromProto(r.GetAdminToken().GetGrant()); err == nil {
			e.Message = access.Describe([]model.Grant{grant})
		}
		return
	}
	response.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() == nil || f.IsList() || f.IsMap() {
			return true
		}
		switch m := v.Message().Interface().(type) {
		case *typepb.SourceRevision:
			e.Revisions = append(e.Revisions, m)
		case interface{ GetMetadata() *typepb.ObjectMeta }:
			if len(e.GetObjects()) == 1 {
				e.Objects[0].Etag = m.GetMetadata().GetEtag()
			}
		}
		return true
	})
}

// hostText says what a host may do.
func hostText(scope *identitypb.HostScope) string {
	accounts := "any account"
	if len(scope.GetAccounts()) > 0 {
		accounts = "accounts " + strings.Join(scope.GetAccounts(), ", ")
	}
	return fmt.Sprintf("host %q for %s of %s", scope.GetHost(), accounts, strings.Join(scope.GetNamespaces(), ", "))
}

// clip keeps messages short: the store keeps many.
func clip(text string) string {
	const most = 500
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}
