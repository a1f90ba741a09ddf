.PHONY: check generate
check:
	go run ./tools/check
generate:
	go run ./internal/api/gen
