package policy

import (
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/resource"
)

func routes() resource.Type[model.Route, *policypb.Route] {
	return resource.Type[model.Route, *policypb.Route]{
		Kind: model.KindRoute, Collection: "routes",
		Meta: (*model.Route).Metadata, Validate: (*model.Route).Validate,
		ToProto: modelpb.RouteToProto, FromProto: modelpb.RouteFromProto,
	}
}

func accessPolicies() resource.Type[model.AccessPolicy, *policypb.AccessPolicy] {
	return resource.Type[model.AccessPolicy, *policypb.AccessPolicy]{
		Kind: model.KindAccessPolicy, Collection: "accesspolicies",
		Meta: (*model.AccessPolicy).Metadata, Validate: (*model.AccessPolicy).Validate,
		ToProto: modelpb.AccessPolicyToProto, FromProto: modelpb.AccessPolicyFromProto,
	}
}

func meshConfigs() resource.Type[model.MeshConfig, *policypb.MeshConfig] {
	return resource.Type[model.MeshConfig, *policypb.MeshConfig]{
		Kind: model.KindMeshConfig, Collection: "meshconfigs",
		Meta: (*model.MeshConfig).Metadata, Validate: (*model.MeshConfig).Validate,
		ToProto: modelpb.MeshConfigToProto, FromProto: modelpb.MeshConfigFromProto,
	}
}

func externalServices() resource.Type[model.ExternalService, *policypb.ExternalService] {
	return resource.Type[model.ExternalService, *policypb.ExternalService]{
		Kind: model.KindExternalService, Collection: "externalservices",
		Meta: (*model.ExternalService).Metadata, Validate: (*model.ExternalService).Validate,
		ToProto: modelpb.ExternalServiceToProto, FromProto: modelpb.ExternalServiceFromProto,
	}
}
