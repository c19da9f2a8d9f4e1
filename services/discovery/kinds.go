package discovery

import (
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/resource"
)

func services() resource.Type[model.Service, *discoverypb.Service] {
	return resource.Type[model.Service, *discoverypb.Service]{
		Kind: model.KindService, Collection: "services",
		Meta: (*model.Service).Metadata, Validate: (*model.Service).Validate,
		ToProto: modelpb.ServiceToProto, FromProto: modelpb.ServiceFromProto,
	}
}

func workloads() resource.Type[model.Workload, *discoverypb.Workload] {
	return resource.Type[model.Workload, *discoverypb.Workload]{
		Kind: model.KindWorkload, Collection: "workloads",
		Meta: (*model.Workload).Metadata, Validate: (*model.Workload).Validate,
		ToProto: modelpb.WorkloadToProto, FromProto: modelpb.WorkloadFromProto,
	}
}
