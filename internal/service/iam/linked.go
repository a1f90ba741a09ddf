package iam

import (
	"context"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// linkedOperations are those about service-linked roles.
func (s *Service) linkedOperations() []call.Operation {
	return []call.Operation{
		on(s, "CreateServiceLinkedRole", func(in *api.CreateServiceLinkedRoleInput) subject {
			return subject{
				kind: role, name: linkedName(in.AWSServiceName, in.CustomSuffix), path: linkedPath + in.AWSServiceName + "/",
				keys: policy.Keys{"iam:awsservicename": {in.AWSServiceName}},
			}
		}, s.createServiceLinkedRole),
		on(s, "DeleteServiceLinkedRole", func(in *api.DeleteServiceLinkedRoleInput) subject { return subject{kind: role, name: in.RoleName} }, s.deleteServiceLinkedRole),
		call.Op("GetServiceLinkedRoleDeletionStatus", s.getServiceLinkedRoleDeletionStatusNeeds, s.getServiceLinkedRoleDeletionStatus),
	}
}

// linkedPath is the path of roles that belong to services. Nobody else makes
// or changes roles below it.
const linkedPath = "/aws-service-role/"

// linkedRole is what a service's role is made of.
type linkedRole struct{ service, name, policy, description string }

// linkedRoles are those of the services that sekisho has. None of them takes
// a suffix.
var linkedRoles = []linkedRole{
	{"cloudtrail.amazonaws.com", "AWSServiceRoleForCloudTrail", "CloudTrailServiceRolePolicy", ""},
	{"events.amazonaws.com", "AWSServiceRoleForCloudWatchEvents", "CloudWatchEventsServiceRolePolicy", ""},
	{"mrk.kms.amazonaws.com", "AWSServiceRoleForKeyManagementServiceMultiRegionKeys", "AWSKeyManagementServiceMultiRegionKeysServiceRolePolicy",
		"Enables access to AWS services and resources required for AWS KMS Multi-Region Keys"},
	{"organizations.amazonaws.com", "AWSServiceRoleForOrganizations", "AWSOrganizationsServiceTrustPolicy",
		"Service-linked role used by AWS Organizations to enable integration of other AWS services with Organizations."},
}

func linkedRoleOf(service string) (linkedRole, bool) {
	for _, l := range linkedRoles {
		if l.service == service {
			return l, true
		}
	}
	return linkedRole{}, false
}

// linkedName is the name of a service's role. Of services that have none it is
// one all the same: permissions are asked before the service is refused.
func linkedName(service, suffix string) string {
	l, ok := linkedRoleOf(service)
	if !ok {
		l.name = "AWSServiceRoleFor" + strings.TrimSuffix(service, ".amazonaws.com")
	}
	if suffix != "" {
		l.name += "_" + suffix
	}
	return l.name
}

// linked reports whether the entity is a service-linked role.
func (e entity) linked() bool { return kind(e.Kind) == role && strings.HasPrefix(e.Path, linkedPath) }

// changeable finds an entity that is to be changed. Service-linked roles are
// their services' to change.
func changeable(ctx context.Context, tx *state.Tx, account string, k kind, name string) (entity, error) {
	e, err := find(ctx, tx, account, k, name)
	if err == nil && e.linked() {
		return e, errProtected(e)
	}
	return e, err
}

func errProtected(e entity) error {
	return aws.Errorf("UnmodifiableEntity", "Cannot perform the operation on the protected role '%s' - this role is only modifiable by AWS", e.Name)
}

// createServiceLinkedRole makes the role of a service, with the service's own
// policy attached.
func (s *Service) createServiceLinkedRole(ctx context.Context, c *call.Call, in *api.CreateServiceLinkedRoleInput) (*api.CreateServiceLinkedRoleOutput, error) {
	l, ok := linkedRoleOf(in.AWSServiceName)
	if !ok {
		return nil, aws.Errorf("AccessDenied", "Cannot find Service Linked Role template for %s", in.AWSServiceName).WithStatus(403)
	}
	if in.CustomSuffix != "" {
		return nil, invalid("Custom suffix is not allowed for %s", l.service)
	}
	e := newEntity(c.Account(), role, linkedPath+l.service+"/", l.name, c.Time)
	e.MaxSession, e.Description = 3600, l.description
	if in.Description != "" {
		e.Description = in.Description
	}
	e.Trust = `{"Version":"2012-10-17","Statement":[{"Action":["sts:AssumeRole"],"Effect":"Allow","Principal":{"Service":["` + l.service + `"]}}]}`
	err := s.write(ctx, c.Account(), func(tx *state.Tx) error {
		err := insert(ctx, tx, e)
		if isExists(err) {
			return invalid("Service role name %s has been taken in this account, please try a different suffix.", e.Name)
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, insertAttachment, e.ID, builtinPrefix+strings.TrimPrefix(linkedPath, "/")+l.policy, e.Account, l.policy)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.CreateServiceLinkedRoleOutput{Role: new(e.role())}, nil
}

// deleteServiceLinkedRole deletes the role at once: no service here has
// anything that still needs it. AWS lets the deletion run on behind the answer.
func (s *Service) deleteServiceLinkedRole(ctx context.Context, c *call.Call, in *api.DeleteServiceLinkedRoleInput) (*api.DeleteServiceLinkedRoleOutput, error) {
	task := ""
	err := s.write(ctx, c.Account(), func(tx *state.Tx) error {
		e, err := find(ctx, tx, c.Account(), role, in.RoleName)
		if err != nil {
			return err
		}
		if !e.linked() {
			return invalid("Role %s is not a service-linked role.", e.Name)
		}
		if err := deleteAll(ctx, tx, e.ID, `DELETE FROM iam_attachment WHERE entity_id = $1`); err != nil {
			return err
		}
		if err := e.remove(ctx, tx); err != nil {
			return err
		}
		task = "task" + e.Path + e.Name + "/" + c.NewID()
		_, err = tx.Exec(ctx, `INSERT INTO iam_deletion (id, account, ended) VALUES ($1, $2, $3)`, task, c.Account(), c.Time.Truncate(time.Second))
		return err
	})
	return &api.DeleteServiceLinkedRoleOutput{DeletionTaskId: task}, err
}

// getServiceLinkedRoleDeletionStatusNeeds asks about the role that a task's id
// names.
func (s *Service) getServiceLinkedRoleDeletionStatusNeeds(_ context.Context, c *call.Call, in *api.GetServiceLinkedRoleDeletionStatusInput) ([]call.Need, error) {
	if err := barred(c); err != nil {
		return nil, err
	}
	parts := strings.Split(in.DeletionTaskId, "/")
	if !storable(in.DeletionTaskId) || len(parts) != 5 || parts[0] != "task" || "/"+parts[1]+"/" != linkedPath {
		return nil, invalid("Invalid deletion task id: %s", in.DeletionTaskId)
	}
	return []call.Need{{
		Action:   "iam:GetServiceLinkedRoleDeletionStatus",
		Resource: entityARN(c.Account(), role, linkedPath+parts[2]+"/", parts[3]),
	}}, nil
}

func (s *Service) getServiceLinkedRoleDeletionStatus(ctx context.Context, c *call.Call, in *api.GetServiceLinkedRoleDeletionStatusInput) (*api.GetServiceLinkedRoleDeletionStatusOutput, error) {
	known := false
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		known, err = has(ctx, tx, `SELECT 1 FROM iam_deletion WHERE id = $1 AND account = $2`, in.DeletionTaskId, c.Account())
		return err
	})
	if err == nil && !known {
		err = noSuch("The deletion task %s cannot be found.", in.DeletionTaskId)
	}
	return &api.GetServiceLinkedRoleDeletionStatusOutput{Status: "SUCCEEDED"}, err
}
