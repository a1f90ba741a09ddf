package s3

import (
	"fmt"
	"regexp"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// The permissions that an access control list grants.
const (
	aclRead        = "READ"
	aclWrite       = "WRITE"
	aclReadACP     = "READ_ACP"
	aclWriteACP    = "WRITE_ACP"
	aclFullControl = "FULL_CONTROL"
)

// The groups that it may grant them to.
const (
	groupAllUsers      = "http://acs.amazonaws.com/groups/global/AllUsers"
	groupAuthenticated = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
	groupLogDelivery   = "http://acs.amazonaws.com/groups/s3/LogDelivery"
)

const (
	aclPrivate          = "private"
	aclOwnerFullControl = "bucket-owner-full-control"
)

// anonymous stands in the place of an account where nobody signed; its
// canonical user id is the one that AWS documents.
const (
	anonymous   = "anonymous"
	anonymousID = "65a011a29cdf8ec533ec3d1ccaae921c"
)

// imagesID is the canonical user of EC2 that reads machine images, whom
// aws-exec-read names.
const imagesID = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"

// logService is the service principal in the LogDelivery group.
const logService = "logging.s3.amazonaws.com"

// bucketGrants says which permission of a bucket's list allows an action, and
// objectGrants which one of an object's does: "Access control list (ACL)
// overview" in the S3 User Guide.
var (
	bucketGrants = map[string]string{
		"s3:ListBucket": aclRead, "s3:ListBucketVersions": aclRead, "s3:ListBucketMultipartUploads": aclRead,
		"s3:PutObject": aclWrite, "s3:GetBucketAcl": aclReadACP, "s3:PutBucketAcl": aclWriteACP,
	}
	objectGrants = map[string]string{
		"s3:GetObject": aclRead, "s3:GetObjectVersion": aclRead,
		"s3:GetObjectAcl": aclReadACP, "s3:GetObjectVersionAcl": aclReadACP,
		"s3:PutObjectAcl": aclWriteACP, "s3:PutObjectVersionAcl": aclWriteACP,
	}
)

// grant is an entry of an access control list: a canonical user or a group,
// and what it may.
type grant struct {
	ID   string `json:",omitempty"`
	URI  string `json:",omitempty"`
	What string
}

// maxGrants is how many entries a list may have.
const maxGrants = 100

// grantsOf reads a stored list; account is whose the resource is.
func grantsOf(stored, account string) ([]grant, error) {
	if stored == "" {
		return []grant{{ID: owner(account), What: aclFullControl}}, nil
	}
	var list []grant
	return list, decode(stored, &list)
}

// granted says to whom a list grants a permission; nobody, where lists are off.
func (t *target) granted(list []grant, permission string) policy.Grantee {
	best := policy.NoGrantee
	if permission == "" || t.bucket.aclsOff() {
		return best
	}
	for _, g := range list {
		if g.What != permission && g.What != aclFullControl || t.access.IgnorePublicAcls && g.public() {
			continue
		}
		best = max(best, g.to(t.call.Principal))
	}
	return best
}

// about makes a need one about an object that is there. An object of another
// account is that account's: the bucket's policy can keep others from it, and
// only its own list lets them have it.
func (t *target) about(n *call.Need, o *object) error {
	if o.Marker || t.bucket.aclsOff() {
		return nil
	}
	account := t.bucket.ownerOf(o.Owner)
	list, err := grantsOf(o.ACL, account)
	if err != nil {
		return fmt.Errorf("stored ACL of object %s of bucket %s: %w", o.Key, t.name, err)
	}
	n.ACL = t.granted(list, objectGrants[n.Action])
	if account == t.bucket.Account {
		return nil
	}
	n.Owner, n.Holder = account, t.bucket.Account
	if n.Policy != nil {
		denies := *n.Policy
		denies.DenyOnly = true
		n.Policy = &denies
	}
	return nil
}

// to says how an entry names a caller.
func (g grant) to(p aws.Principal) policy.Grantee {
	switch {
	case g.URI == groupAllUsers,
		g.URI == groupAuthenticated && p.Account != "",
		g.URI == groupLogDelivery && p.Kind == aws.Service && p.ARN == logService,
		g.ID == anonymousID && p.Kind == aws.Anonymous:
		return policy.CallersGroup
	case g.ID != "" && p.Account != "" && g.ID == aws.CanonicalID(p.Account):
		return policy.CallersAccount
	}
	return policy.NoGrantee
}

// public reports whether an entry is for everybody, as the public access block
// understands it.
func (g grant) public() bool { return g.URI == groupAllUsers || g.URI == groupAuthenticated }

func anyPublic(list []grant) bool {
	for _, g := range list {
		if g.public() {
			return true
		}
	}
	return false
}

// aclsOff reports whether access control lists count for nothing. A bucket
// whose ownership controls were deleted has them on, as ObjectWriter does.
func (b *bucket) aclsOff() bool { return b.Ownership == ownerEnforced }

// ownerOf returns the account that an object is of, by the one its row names.
func (b *bucket) ownerOf(account string) string {
	if account == "" || b.aclsOff() {
		return b.Account
	}
	return account
}

// writer is the account that what the caller writes is of, where the bucket
// leaves it to him.
func (b *bucket) writer(c *call.Call) string {
	switch {
	case c.Principal.Kind == aws.Anonymous:
		return anonymous
	case c.Account() == "":
		return b.Account // services write for the bucket's owner
	}
	return c.Account()
}

// aclRequest is what a request says about an access control list.
type aclRequest struct {
	canned string
	grants map[string]string // x-amz-grant-* headers
	body   *api.AccessControlPolicy
}

func (r *aclRequest) empty() bool { return r.canned == "" && len(r.grants) == 0 && r.body == nil }

// resource is what a list is to stand on.
type resource struct {
	owner       string // account
	bucketOwner string // account
	isBucket    bool
}

// list reads a request's access control list; without one it is the owner's
// full control.
func (r *aclRequest) list(on resource) ([]grant, error) {
	switch {
	case r.canned != "" && len(r.grants) > 0:
		return nil, errInvalidRequest("Specifying both Canned ACLs and Header Grants is not allowed")
	case r.body != nil && (r.canned != "" || len(r.grants) > 0):
		return nil, aws.Errorf("UnexpectedContent", "This request does not support content").WithStatus(400)
	case r.body != nil:
		return readACL(r.body, on.owner)
	case len(r.grants) > 0:
		return readGrants(r.grants)
	}
	return cannedGrants(r.canned, on)
}

// cannedGrants are the entries of a list that has a name.
func cannedGrants(name string, on resource) ([]grant, error) {
	list := []grant{{ID: owner(on.owner), What: aclFullControl}}
	bucketOwner := func(what string) {
		if !on.isBucket && on.owner != on.bucketOwner {
			list = append(list, grant{ID: owner(on.bucketOwner), What: what})
		}
	}
	switch name {
	case "", aclPrivate:
	case "public-read":
		list = append(list, grant{URI: groupAllUsers, What: aclRead})
	case "public-read-write":
		list = append(list, grant{URI: groupAllUsers, What: aclRead}, grant{URI: groupAllUsers, What: aclWrite})
	case "authenticated-read":
		list = append(list, grant{URI: groupAuthenticated, What: aclRead})
	case "aws-exec-read":
		list = append(list, grant{ID: imagesID, What: aclRead})
	case "bucket-owner-read":
		bucketOwner(aclRead)
	case aclOwnerFullControl:
		bucketOwner(aclFullControl)
	case "log-delivery-write":
		list = append(list, grant{URI: groupLogDelivery, What: aclWrite}, grant{URI: groupLogDelivery, What: aclReadACP})
	default:
		return nil, errInvalidArgument("x-amz-acl", name, "")
	}
	return list, nil
}

// grantPermissions are the permissions by their headers, in the order in which
// lists show them.
var grantPermissions = []struct{ header, what string }{
	{"x-amz-grant-full-control", aclFullControl}, {"x-amz-grant-read", aclRead}, {"x-amz-grant-read-acp", aclReadACP},
	{"x-amz-grant-write", aclWrite}, {"x-amz-grant-write-acp", aclWriteACP},
}

// readGrants reads the x-amz-grant-* headers: lists of id="…" and uri="…".
func readGrants(headers map[string]string) ([]grant, error) {
	var list []grant
	for _, p := range grantPermissions {
		value, sent := headers[p.header]
		if !sent {
			continue
		}
		for one := range strings.SplitSeq(value, ",") {
			kind, who, ok := strings.Cut(strings.TrimSpace(one), "=")
			who = strings.Trim(strings.TrimSpace(who), `"'`)
			if !ok || who == "" {
				return nil, errInvalidArgument(p.header, value, "Argument format not recognized")
			}
			g := grant{What: p.what}
			var err error
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "id":
				g.ID, err = who, checkCanonicalID(who)
			case "uri":
				g.URI, err = who, checkGroup(who)
			case "emailaddress":
				err = errEmailGrantee()
			default:
				err = errInvalidArgument(p.header, value, "Argument format not recognized")
			}
			if err != nil {
				return nil, err
			}
			list = append(list, g)
		}
	}
	return list, checkCount(list)
}

// readACL reads an AccessControlPolicy, which may leave the owner as it is and
// nothing else.
func readACL(p *api.AccessControlPolicy, account string) ([]grant, error) {
	if p.Owner == nil || p.Owner.ID == "" {
		return nil, errMalformedACL()
	}
	if p.Owner.ID != owner(account) {
		return nil, errAccessDenied()
	}
	list := []grant{}
	for _, one := range p.Grants {
		g, err := readGrant(&one)
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, checkCount(list)
}

func readGrant(one *api.Grant) (grant, error) {
	g := grant{What: one.Permission}
	switch g.What {
	case aclFullControl, aclRead, aclReadACP, aclWrite, aclWriteACP:
	default:
		return g, errMalformedACL()
	}
	who := one.Grantee
	if who == nil {
		return g, errMalformedACL()
	}
	switch who.Type {
	case "CanonicalUser":
		g.ID = who.ID
		return g, checkCanonicalID(g.ID)
	case "Group":
		g.URI = who.URI
		return g, checkGroup(g.URI)
	case "AmazonCustomerByEmail":
		return g, errEmailGrantee()
	}
	return g, errMalformedACL()
}

func checkCount(list []grant) error {
	if len(list) > maxGrants {
		return errMalformedACL()
	}
	return nil
}

var canonicalForm = regexp.MustCompile(`^([0-9a-f]{64}|` + anonymousID + `)$`)

func checkCanonicalID(id string) error {
	if !canonicalForm.MatchString(id) {
		return errInvalidArgument("CanonicalUser/ID", strings.ToValidUTF8(id, "?"), "Invalid id")
	}
	return nil
}

func checkGroup(uri string) error {
	switch uri {
	case groupAllUsers, groupAuthenticated, groupLogDelivery:
		return nil
	}
	return errInvalidArgument("Group/URI", strings.ToValidUTF8(uri, "?"), "Invalid group uri")
}

func errMalformedACL() error {
	return aws.Errorf("MalformedACLError", "The XML you provided was not well-formed or did not validate against our published schema").WithStatus(400)
}

// errEmailGrantee refuses grantees by address, which S3 has not taken since
// October 2025.
func errEmailGrantee() error {
	return aws.Errorf("MethodNotAllowed", "The specified method is not allowed against this resource.").WithStatus(405)
}

// errPublicACL is the refusal of a list that the public access block forbids.
func errPublicACL(c *call.Call, action, arn string) error {
	if c.Principal.Kind == aws.Anonymous {
		return errAccessDenied()
	}
	return aws.Errorf("AccessDenied", `User: %s is not authorized to perform: %s on resource: "%s" because public ACLs are prevented by the BlockPublicAcls setting in S3 Block Public Access.`,
		c.Principal.ARN, action, arn).WithStatus(403)
}

// storedACL is a list as a row keeps it, if the public access block lets it
// stand.
func (b *bucket) storedACL(c *call.Call, list []grant, on resource, action, arn string) (string, error) {
	if anyPublic(list) {
		access, err := b.publicAccess()
		if err != nil {
			return "", err
		}
		if access.BlockPublicAcls {
			return "", errPublicACL(c, action, arn)
		}
	}
	return encodeACL(list, on.owner), nil
}

func encodeACL(list []grant, account string) string {
	if len(list) == 1 && list[0] == (grant{ID: owner(account), What: aclFullControl}) {
		return ""
	}
	return encode(list)
}

// ownership says whose a new object is and what its access control list is, as
// its row keeps them.
func (w *write) ownership(c *call.Call, b *bucket, key string) (account, acl string, err error) {
	if b.aclsOff() {
		if w.acl.canned != "" && w.acl.canned != aclOwnerFullControl || len(w.acl.grants) > 0 {
			return "", "", errACLs()
		}
		return "", "", nil
	}
	on := resource{owner: b.writer(c), bucketOwner: b.Account}
	if b.Ownership == ownerPreferred && w.acl.canned == aclOwnerFullControl {
		on.owner = b.Account
	}
	list, err := w.acl.list(on)
	if err != nil {
		return "", "", err
	}
	acl, err = b.storedACL(c, list, on, "s3:PutObjectAcl", objectARN(b.Name, key))
	if on.owner == b.Account {
		on.owner = ""
	}
	return on.owner, acl, err
}

// shownACL is a list in the shape of answers.
func (b *bucket) shownACL(stored, account string) (*api.Owner, []api.Grant, error) {
	if b.aclsOff() {
		stored, account = "", b.Account
	}
	list, err := grantsOf(stored, account)
	if err != nil {
		return nil, nil, err
	}
	grants := []api.Grant{}
	for _, g := range list {
		who := &api.Grantee{Type: "CanonicalUser", ID: g.ID}
		if g.URI != "" {
			who = &api.Grantee{Type: "Group", URI: g.URI}
		}
		grants = append(grants, api.Grant{Grantee: who, Permission: g.What})
	}
	return &api.Owner{ID: owner(account)}, grants, nil
}

// sameAsOwnerFullControl reports whether an ACL in XML says what the canned
// one says.
func sameAsOwnerFullControl(p *api.AccessControlPolicy, account string) bool {
	if p == nil {
		return false
	}
	list, err := readACL(p, account)
	if err != nil || len(list) == 0 {
		return false
	}
	for _, g := range list {
		if g != (grant{ID: owner(account), What: aclFullControl}) {
			return false
		}
	}
	return true
}

// addACLKeys sets the condition keys of headers that ask for an ACL.
func addACLKeys(keys policy.Keys, r *aclRequest) {
	if r.canned != "" {
		keys["s3:x-amz-acl"] = []string{r.canned}
	}
	for name, value := range r.grants {
		keys["s3:"+name] = []string{value}
	}
}
