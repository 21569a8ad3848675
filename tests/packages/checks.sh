# For the scripts beside it: what is checked, and what came of it.
passed=0
failed=0
why=$(mktemp)

check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >"$why" 2>&1; then
    passed=$((passed + 1))
    echo "ok      $what"
  else
    failed=$((failed + 1))
    echo "FAILED  $what"
    sed 's/^/        /' "$why"
  fi
}

conclude() {
  rm -f "$why"
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

not() {
  ! "$@"
}

# Waits until the command succeeds, for up to so many seconds.
await() { # SECONDS COMMAND...
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}
