package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	cptypes "github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
)

// BenchmarkPushToDelivered measures the way of a small commit from the moment
// at which git push begins, and at which it ends, to the moment at which the
// execution that delivers it has ended.
func BenchmarkPushToDelivered(b *testing.B) {
	w := deliver(b)
	known := w.known("pipeline")
	var begun, pushed []time.Duration
	n := 0
	for b.Loop() {
		n++
		w.write("index.html", fmt.Sprintf("<h1>%d</h1>", n))
		w.commit(fmt.Sprintf("Change %d", n))
		start := time.Now()
		w.git("push", "-q", "origin", "main")
		acknowledged := time.Now()
		for e := w.newest(known); ; e = w.newest(known) {
			if e != nil && e.Status != cptypes.PipelineExecutionStatusInProgress {
				known[*e.PipelineExecutionId] = true
				if e.Status != cptypes.PipelineExecutionStatusSucceeded {
					b.Fatalf("execution is %s: %s", e.Status, w.explain(*e.PipelineExecutionId))
				}
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
		begun = append(begun, time.Since(start))
		pushed = append(pushed, time.Since(acknowledged))
	}
	b.ReportMetric(median(begun), "ms/push-begun→delivered")
	b.ReportMetric(median(pushed), "ms/push-acknowledged→delivered")
	b.ReportMetric(0, "ns/op")
}

// newest is the newest execution that is not known.
func (w *world) newest(known map[string]bool) *cptypes.PipelineExecutionSummary {
	for _, e := range w.executions("pipeline") {
		if !known[*e.PipelineExecutionId] {
			return &e
		}
	}
	return nil
}

func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2].Microseconds()) / 1000
}
