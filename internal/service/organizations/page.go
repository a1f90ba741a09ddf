package organizations

import (
	"encoding/base64"
	"unicode/utf8"
)

// page is the part of a list that was asked for.
type page struct {
	after string // the last key of the page before
	limit int
}

// maxResults is the most that AWS gives at once.
const maxResults = 20

// pageOf reads NextToken and MaxResults, whose bounds the model checks.
func pageOf(token string, limit *int64) (page, error) {
	p := page{limit: maxResults}
	if limit != nil {
		p.limit = int(min(max(*limit, 1), maxResults))
	}
	after, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || !utf8.Valid(after) || checkTexts(string(after)) != nil {
		return page{}, invalid("INVALID_NEXT_TOKEN", "You provided an invalid pagination token.")
	}
	p.after = string(after)
	return p, nil
}

// cut takes the entry too many off a list that was asked for limit+1 entries,
// and returns the token of the next page.
func cut[T any](p page, list []T, key func(T) string) (_ []T, next string) {
	if len(list) <= p.limit {
		return list, ""
	}
	list = list[:p.limit]
	return list, base64.RawURLEncoding.EncodeToString([]byte(key(list[len(list)-1])))
}
