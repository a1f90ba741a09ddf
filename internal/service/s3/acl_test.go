package s3

import (
	"errors"
	"testing"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
)

// FuzzGrants reads grants as headers and as XML bring them: what is taken can
// be kept and shown, what is not is refused.
func FuzzGrants(f *testing.F) {
	f.Add(`id="`+owner("111111111111")+`", uri=`+groupAllUsers, "CanonicalUser", owner("111111111111"), aclRead)
	f.Add(`emailAddress=a@b`, "Group", groupLogDelivery, aclFullControl)
	f.Add(`id=,=,`, "", "", "")
	f.Fuzz(func(t *testing.T, header, kind, who, what string) {
		for _, r := range []aclRequest{
			{grants: map[string]string{"x-amz-grant-read": header}},
			{canned: header},
			{body: &api.AccessControlPolicy{Owner: &api.Owner{ID: owner("111111111111")}, Grants: []api.Grant{
				{Grantee: &api.Grantee{Type: kind, ID: who, URI: who}, Permission: what},
			}}},
		} {
			list, err := r.list(resource{owner: "111111111111", bucketOwner: "222222222222"})
			if err != nil {
				if _, refused := errors.AsType[*aws.Error](err); !refused {
					t.Fatalf("%T: %v", err, err)
				}
				continue
			}
			again, err := grantsOf(encodeACL(list, "111111111111"), "111111111111")
			if err != nil || len(again) != len(list) {
				t.Fatalf("%v became %v, %v", list, again, err)
			}
			for i := range list {
				if list[i] != again[i] || list[i].ID == "" && list[i].URI == "" {
					t.Fatalf("%v became %v", list, again)
				}
			}
		}
	})
}
