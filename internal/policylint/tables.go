package policylint

import (
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/policy"
)

// What actions and condition keys are about, after the Service Authorization
// Reference, for the services that sekisho knows.

// kind is a type of resource.
type kind string

const (
	none   kind = "nothing" // the action has no resources: "*" alone will do
	bucket kind = "a bucket"
	item   kind = "an object"
	key    kind = "a key"
	alias  kind = "an alias"
	role   kind = "a role"
)

// anyOf stands for the resources of a service that are not told apart.
func anyOf(service string) kind { return kind("a resource of " + service) }

// kindsOf are the types of resources that an action takes, or the actions that
// a pattern is like; nil when nobody knows.
func kindsOf(action string) []kind {
	service, _, ok := strings.Cut(strings.ToLower(action), ":")
	all := policy.Actions(service)
	if !ok || all == nil {
		return nil
	}
	var kinds []kind
	for _, a := range all {
		if !coversFold(action, a) {
			continue
		}
		for _, k := range kindsOfAction(service, strings.TrimPrefix(a, service+":")) {
			if !slices.Contains(kinds, k) {
				kinds = append(kinds, k)
			}
		}
	}
	return kinds
}

func kindsOfAction(service, name string) []kind {
	switch service {
	case "s3":
		return []kind{s3Kind(name)}
	case "kms":
		switch name {
		case "createkey", "listkeys", "listaliases", "generaterandom":
			return []kind{none}
		case "createalias", "updatealias", "deletealias":
			return []kind{alias, key}
		}
		if !strings.Contains(name, "customkeystore") {
			return []kind{key}
		}
	case "sts":
		switch name {
		case "assumerole", "assumerolewithsaml", "assumerolewithwebidentity":
			return []kind{role}
		case "getcalleridentity", "getaccesskeyinfo", "decodeauthorizationmessage":
			return []kind{none}
		}
		return []kind{anyOf("iam"), anyOf("sts")}
	case "iam":
		if name == "passrole" {
			return []kind{role}
		}
	}
	return []kind{anyOf(service)}
}

func s3Kind(name string) kind {
	switch name {
	case "listallmybuckets":
		return none
	case "abortmultipartupload", "listmultipartuploadparts", "restoreobject", "bypassgovernanceretention",
		"replicateobject", "replicatedelete", "replicatetags", "objectowneroverridetobucketowner", "initiatereplication":
		return item
	}
	for _, p := range []string{"getobject", "putobject", "deleteobject", "updateobject"} {
		if strings.HasPrefix(name, p) {
			return item
		}
	}
	for _, other := range []string{"accesspoint", "accessgrant", "job", "storagelens", "multiregion", "accountpublicaccess", "tagresource", "listtagsforresource"} {
		if strings.Contains(name, other) {
			return anyOf("s3")
		}
	}
	return bucket
}

// is reports whether a Resource may be of a type: it may also when nobody knows
// what is in its holes and wildcards.
func (k kind) is(resource string) bool {
	if resource == "*" || strings.HasPrefix(resource, holeBegin) {
		return true
	}
	parts := strings.SplitN(resource, ":", 6)
	if len(parts) < 6 || strings.ContainsAny(parts[2], "*?"+holeBegin) {
		return true
	}
	service, rest := parts[2], parts[5]
	begins := func(with string) bool { return strings.HasPrefix(rest, with) || vague(rest, with) }
	switch k {
	case none:
		return false
	case bucket:
		return service == "s3" && (parts[3] != "" || !strings.Contains(rest, "/"))
	case item:
		return service == "s3" && (parts[3] != "" || strings.Contains(rest, "/") || strings.ContainsAny(rest, "*?") || strings.Contains(unnamed(rest), holeBegin))
	case key:
		return service == "kms" && begins("key/")
	case alias:
		return service == "kms" && begins("alias/")
	case role:
		return service == "iam" && begins("role/")
	}
	return k == anyOf(service)
}

// vague reports whether a wildcard or a hole keeps anybody from knowing that a
// resource does not begin with a word.
func vague(rest, word string) bool {
	at := strings.IndexAny(rest, "*?"+holeBegin)
	return at >= 0 && strings.HasPrefix(word, rest[:min(at, len(word))])
}

// unnamed is a text without the holes that are the names of resources.
func unnamed(s string) string {
	for {
		head, rest, ok := strings.Cut(s, holeBegin+"=")
		if !ok {
			return s
		}
		_, tail, _ := strings.Cut(rest, holeEnd)
		s = head + tail
	}
}

// keyActions are the actions that carry a condition key, where they are not all
// of its service.
var keyActions = map[string][]string{
	"iam:passedtoservice":             {"iam:passrole"},
	"iam:associatedresourcearn":       {"iam:passrole"},
	"sts:externalid":                  {"sts:assumerole"},
	"sts:rolesessionname":             {"sts:assumerole", "sts:assumerolewithsaml", "sts:assumerolewithwebidentity"},
	"kms:grantisforawsresource":       {"kms:creategrant", "kms:listgrants", "kms:revokegrant"},
	"s3:prefix":                       {"s3:listbucket", "s3:listbucketversions"},
	"s3:delimiter":                    {"s3:listbucket", "s3:listbucketversions"},
	"s3:max-keys":                     {"s3:listbucket", "s3:listbucketversions"},
	"s3:x-amz-server-side-encryption": {"s3:putobject"},
	"s3:x-amz-server-side-encryption-aws-kms-key-id": {"s3:putobject", "s3:replicateobject"},
	"s3:x-amz-acl":               {"s3:putobject", "s3:putobjectacl", "s3:putobjectversionacl", "s3:putbucketacl", "s3:createbucket"},
	"cloudformation:templateurl": {"cloudformation:createstack", "cloudformation:updatestack", "cloudformation:createchangeset", "cloudformation:createstackset", "cloudformation:updatestackset"},
	"events:detail-type":         {"events:putevents", "events:putrule"},
	"events:source":              {"events:putevents", "events:putrule"},
	"events:targetarn":           {"events:puttargets"},
	"s3:x-amz-server-side-encryption-customer-algorithm": {"s3:putobject", "s3:getobject", "s3:replicateobject"},
}

// carries reports whether some of the actions may carry a key of a service.
func carries(name string, actions []text) bool {
	name = strings.ToLower(name)
	service, _, ok := strings.Cut(name, ":")
	if !ok || policy.Actions(service) == nil {
		return true
	}
	only := keyActions[name]
	return slices.ContainsFunc(actions, func(a text) bool {
		if a.open() || len(only) == 0 {
			of, _, _ := strings.Cut(strings.ToLower(a.s), ":")
			return a.open() || of == service || of == "*"
		}
		return slices.ContainsFunc(only, func(o string) bool { return coversFold(a.s, o) })
	})
}

// globalKeys are AWS's global condition keys, in lower case.
var globalKeys = strings.Fields(`
	aws:assumedroot aws:calledvia aws:calledviafirst aws:calledvialast aws:calledviaawsmcp aws:chatbotsourcearn
	aws:currenttime aws:ec2instancesourceprivateipv4 aws:ec2instancesourcevpc aws:epochtime aws:federatedprovider
	aws:isaccountassociatedaccount aws:ismcpserviceaction aws:multifactorauthage aws:multifactorauthpresent
	aws:principalaccount aws:principalarn aws:principalisawsservice aws:principalorgid aws:principalorgpaths
	aws:principalservicename aws:principalservicenameslist aws:principaltype aws:referer aws:requestedregion
	aws:resourceaccount aws:resourceorgid aws:resourceorgpaths aws:securetransport aws:signinsessionarn
	aws:sourceaccount aws:sourcearn aws:sourceidentity aws:sourceip aws:sourceorgid aws:sourceorgpaths aws:sourcevpc
	aws:sourcevpcarn aws:sourcevpce aws:tagkeys aws:tokenissuetime aws:useragent aws:userid aws:username
	aws:viaawsservice aws:vpceaccount aws:vpceorgid aws:vpceorgpaths aws:vpcsourceip`)

// tagKeys are those that end in the key of a tag.
var tagKeys = []string{"aws:principaltag/", "aws:requesttag/", "aws:resourcetag/"}

// ofServices are the keys that only a service fills in, which acts for a
// resource.
var ofServices = []string{"aws:sourcearn", "aws:sourceaccount", "aws:sourceorgid", "aws:sourceorgpaths"}

// limiting are the keys by which a statement for everybody is not for
// everybody.
var limiting = []string{
	"aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths", "aws:principalservicename",
	"aws:principalservicenameslist", "aws:sourceaccount", "aws:sourcearn", "aws:sourceip", "aws:sourceorgid", "aws:sourceorgpaths",
	"aws:sourcevpc", "aws:sourcevpcarn", "aws:sourcevpce", "aws:userid", "aws:username", "aws:vpceaccount", "aws:vpceorgid",
	"kms:calleraccount", "s3:dataaccesspointaccount", "s3:dataaccesspointarn", "sts:externalid",
}

// acting are services that always say for which resource they act.
var acting = []string{
	"cloudtrail.amazonaws.com", "codebuild.amazonaws.com", "codepipeline.amazonaws.com", "config.amazonaws.com",
	"events.amazonaws.com", "logging.s3.amazonaws.com", "s3.amazonaws.com", "scheduler.amazonaws.com", "sns.amazonaws.com",
}

// operatorOf is the family of operators that a global key wants.
var operatorOf = map[string]string{
	"aws:sourceip": "IpAddress", "aws:vpcsourceip": "IpAddress",
	"aws:multifactorauthage": "Numeric", "aws:currenttime": "Date", "aws:tokenissuetime": "Date",
}
