package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sekisho/sekisho/internal/wire"
)

func TestMetadataNamesStayInLowerCase(t *testing.T) {
	w := httptest.NewRecorder()
	write(w, bound(w, httptest.NewRequest("GET", "/", nil), defaultStall), &wire.Response{Status: 200, Header: http.Header{"X-Amz-Meta-Color": {"blue"}, "Etag": {`"x"`}}})
	const name = "x-amz-meta-color" // as it must stand in the map, not canonical
	if got := map[string][]string(w.Header())[name]; len(got) != 1 || got[0] != "blue" || w.Header()["X-Amz-Meta-Color"] != nil {
		t.Errorf("%v", w.Header())
	}
}
