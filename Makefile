# Nearside. `make` builds build/nearside; `make help` lists the rest.

SHELL   := /bin/sh
FLAVOUR ?= release
BUILD   := $(if $(filter release,$(FLAVOUR)),build,build/$(FLAVOUR))
PREFIX  ?= /usr/local
DESTDIR ?=
UNITDIR ?= $(PREFIX)/lib/systemd/system
VERSION := $(shell cat VERSION)

Q        := $(if $(V),,@)
SAY      := $(if $(V),@true,@printf '%-5s %s\n')

CC       ?= gcc
STD      := -std=c11 -D_GNU_SOURCE
WARNINGS := -Wall -Wextra -Werror -Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes \
            -Wmissing-prototypes -Wvla -Wpointer-arith -Wwrite-strings -Wundef -Wformat=2 \
            -Wimplicit-fallthrough -Wcast-qual
HARDEN   := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE -fno-strict-aliasing -fcf-protection
LINKHARD := -pie -Wl,-z,relro,-z,now,-z,noexecstack

FLAGS_release := -O3 -g $(HARDEN)
LINK_release  := $(LINKHARD)
FLAGS_asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LINK_asan     := -fsanitize=address,undefined
FLAGS_tsan    := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
LINK_tsan     := -fsanitize=thread
FLAGS_fuzz    := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
                 -fno-sanitize-recover=undefined
LINK_fuzz     := -fsanitize=fuzzer,address,undefined
# What a target replaces: the worker's endpoint is a socket pair, and time is the input's.
comma            := ,
WRAP_fuzz_worker := -Wl,--wrap=connect,--wrap=clock_gettime,--wrap=request_write_head

CPPFLAGS += -Iinclude -Isrc -DNEARSIDE_VERSION='"$(VERSION)"'
CFLAGS   += $(STD) $(WARNINGS) $(FLAGS_$(FLAVOUR)) -pthread
LDFLAGS  += $(LINK_$(FLAVOUR)) -pthread
LIBS     := -levent_core -levent_extra -levent_pthreads -levent_openssl -lssl -lcrypto -lhiredis -lcares -lconfig -ljansson -lzstd -lm

SOURCES  := $(filter-out src/app/main.c,$(wildcard src/*/*.c))
OBJECTS  := $(SOURCES:src/%.c=$(BUILD)/obj/%.o)
LIBRARY  := $(BUILD)/libnearside.a

UNIT_SOURCES := $(wildcard tests/unit/*/test_*.c) $(wildcard tests/module/test_*.c)
UNIT_TESTS   := $(UNIT_SOURCES:tests/%.c=$(BUILD)/tests/%)

.DEFAULT_GOAL := all
.PHONY: all help deps build tools unit demo faults attack soak test check lint layers format asan tsan install uninstall clean sizes docs fuzz pictures \
        fuzz-targets bench bench-cache bench-redis churn crowd bench-tools bench-smoke bench-micro deb deb-test
.DELETE_ON_ERROR:
.SECONDARY:

all: deps build

help:
	@echo 'make            install what the build needs, build build/nearside'
	@echo 'make tools      build/pod, a simulated pod (tests/pod/README.md), and what else tests use'
	@echo 'make demo       three simulated regions with Redis, Nearside in front, a guided tour'
	@echo 'make test       every test: unit, module, integration, the demo tour, the cost budget'
	@echo 'make faults      every fault under live traffic: docs/fault-matrix.md (FAULT=name: one)'
	@echo 'make attack     5,000 slow clients and what the others notice (ATTACK="--attackers N")'
	@echo 'make soak       valid and hostile load with faults, SECONDS=1800: memory, descriptors, counters'
	@echo 'make lint       floors, format, banned functions, gcc and clang warnings'
	@echo 'make asan tsan  the same tests in a sanitizer build'
	@echo 'make fuzz       libFuzzer targets, SECONDS=60 each (FUZZ="fuzz_worker": these)'
	@echo 'make bench      beside HAProxy, NGINX, H2O, Varnish; BENCH_QUICK=1 for a short look'
	@echo 'make bench-cache  hits and long prompts beside the caches of HAProxy, NGINX, Varnish'
	@echo 'make bench-redis  what clients notice when Redis freezes under 2,000 requests a second'
	@echo 'make churn      the memory tier under answers of all sizes: does it keep to its bound'
	@echo 'make crowd      1,000 identical streams at once: one request for the pod, first token + 5 ms'
	@echo 'make bench-smoke  instructions, allocations, system calls against a budget'
	@echo 'make bench-micro  codecs, cache and routing by themselves'
	@echo 'make docs       regenerate conf/nearside.conf, docs/configuration.md, docs/metrics.md, nearside.conf(5)'
	@echo 'make pictures   the status page in a real browser: build/pictures, docs/img/status-page.png'
	@echo 'make install    PREFIX=/usr/local DESTDIR='
	@echo 'make deb        build/deb/nearside_VERSION_ARCH.deb'
	@echo 'make deb-test   the package in a fresh Debian root: installed, run, upgraded, purged'
	@echo 'make sizes      longest files and functions'

deps:
	@sh scripts/deps.sh build

build: $(BUILD)/nearside

tools: $(BUILD)/pod $(BUILD)/wan $(BUILD)/verdict $(BUILD)/nearside_refusing $(BUILD)/bench/crowd $(BUILD)/bench/load

$(BUILD)/nearside: $(BUILD)/obj/app/main.o $(LIBRARY)
	$(SAY) LINK $@
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(LIBRARY): $(OBJECTS)
	@rm -f $@
	$(SAY) AR $@
	$(Q)ar rcs $@ $^

$(BUILD)/obj/%.o: src/%.c VERSION Makefile
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# The assembler reads these (.incbin), so the compiler does not know of them.
$(BUILD)/obj/admin/page_asset.o: $(wildcard src/admin/page/*)

$(BUILD)/pod: $(wildcard tests/pod/*.c) $(wildcard tests/pod/*.h) $(LIBRARY)
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(CC) $(CPPFLAGS) -Itests $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c,$^) $(LIBRARY) $(LIBS)

$(BUILD)/wan: $(wildcard tests/wan/*.c) $(wildcard tests/wan/*.h) $(LIBRARY)
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(CC) $(CPPFLAGS) -Itests $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c,$^) $(LIBRARY)

$(BUILD)/verdict: tests/verdict/verdict.c $(LIBRARY)
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c,$^) $(LIBRARY)

# The edge as it is, but for its allocator: tests/refusing/refusing.c.
WRAP_refusing := $(patsubst %,-Wl$(comma)--wrap=mem_%,try_alloc try_realloc zero alloc realloc strdup strndup)

$(BUILD)/nearside_refusing: $(BUILD)/obj/app/main.o tests/refusing/refusing.c $(LIBRARY)
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(WRAP_refusing) -o $@ $^ $(LIBS)

$(BUILD)/tests/%: tests/%.c $(LIBRARY)
	@mkdir -p $(@D)
	$(SAY) TEST $@
	$(Q)$(CC) $(CPPFLAGS) -Itests $(CFLAGS) $(LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(LIBRARY) $(LIBS) -lcmocka

FUZZ_TARGETS := $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))

$(BUILD)/fuzz_%: tests/fuzz/fuzz_%.c $(LIBRARY)
	@mkdir -p $(@D)
	$(SAY) FUZZ $@
	$(Q)$(CC) $(CPPFLAGS) -Itests $(CFLAGS) $(LDFLAGS) $(WRAP_fuzz_$*) -MMD -MP -MF $@.d -o $@ $< \
	    $(LIBRARY) $(LIBS)

$(BUILD)/bench/load: $(wildcard tests/bench/load/*.c) $(wildcard tests/bench/load/*.h)
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c,$^) -lssl -lcrypto

$(BUILD)/bench/rawforward: tests/bench/rawforward.c
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $<

$(BUILD)/bench/canned: tests/bench/canned.c
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $<

$(BUILD)/bench/crowd: tests/bench/crowd.c
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $<

$(BUILD)/bench/micro_%: tests/bench/micro_%.c $(LIBRARY)
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(CC) $(CPPFLAGS) -Itests $(CFLAGS) $(LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(LIBRARY) $(LIBS)

bench-tools: build tools $(BUILD)/bench/load $(BUILD)/bench/canned $(BUILD)/bench/rawforward $(BUILD)/bench/micro_route

bench:
	@sh scripts/deps.sh bench
	@$(MAKE) --no-print-directory bench-tools
	@python3 tests/bench/bench.py

bench-cache:
	@sh scripts/deps.sh bench
	@$(MAKE) --no-print-directory bench-tools
	@BENCH_ONLY='^cache_' python3 tests/bench/bench.py

bench-redis:
	@sh scripts/deps.sh test
	@$(MAKE) --no-print-directory bench-tools
	@/usr/bin/python3 tests/bench/frozen_redis.py

churn:
	@sh scripts/deps.sh test
	@$(MAKE) --no-print-directory bench-tools
	@python3 tests/bench/churn.py

crowd:
	@sh scripts/deps.sh test
	@$(MAKE) --no-print-directory build tools
	@python3 tests/bench/crowd.py

bench-smoke:
	@sh scripts/deps.sh test
	@$(MAKE) --no-print-directory build tools $(BUILD)/bench/load
	@python3 tests/bench/smoke.py

MICRO := $(patsubst tests/bench/micro_%.c,$(BUILD)/bench/micro_%,$(wildcard tests/bench/micro_*.c))

bench-micro: $(MICRO)
	@set -e; for program in $(MICRO); do echo "# $$program"; $$program; done

unit: $(UNIT_TESTS)

demo:
	@sh scripts/deps.sh demo
	@$(MAKE) --no-print-directory build tools
	@python3 scripts/demo.py

test:
	@sh scripts/deps.sh test
	@$(MAKE) --no-print-directory build tools unit $(BUILD)/bench/load
	@$(MAKE) --no-print-directory CC=clang FLAVOUR=fuzz fuzz-targets
	@sh scripts/test.sh $(BUILD)
	@python3 tests/bench/smoke.py

asan tsan:
	@sh scripts/deps.sh test
	@$(MAKE) --no-print-directory FLAVOUR=$@ build tools unit
	@sh scripts/test.sh build/$@

attack:
	@sh scripts/deps.sh test
	@$(MAKE) --no-print-directory bench-tools
	@/usr/bin/python3 scripts/attack.py $(ATTACK)

# In bash, SECONDS counts the shell's own age; as a setting it must come from the environment or the
# command line of make.
SECONDS_ASKED := $(SECONDS)

soak:
	@sh scripts/deps.sh test
	@$(MAKE) --no-print-directory build tools
	@/usr/bin/python3 scripts/soak.py --seconds $(or $(SECONDS_ASKED),1800)

faults:
	@sh scripts/deps.sh test
	@$(MAKE) --no-print-directory build tools
	@/usr/bin/python3 scripts/faults.py $(FAULT)

lint: layers
	@sh scripts/deps.sh lint
	@sh scripts/lint.sh

layers:
	@python3 scripts/check_layers.py

format:
	@clang-format -i $$(git ls-files '*.c' '*.h')

docs: $(BUILD)/nearside
	@sh scripts/docs.sh $(BUILD)/nearside

pictures:
	@sh scripts/deps.sh test
	@$(MAKE) --no-print-directory build tools
	@/usr/bin/python3 scripts/page_pictures.py $(BUILD)/pictures
	@install -D -m 644 $(BUILD)/pictures/readme.png docs/img/status-page.png

sizes:
	@python3 scripts/sizes.py

fuzz:
	@sh scripts/deps.sh lint
	@$(MAKE) --no-print-directory CC=clang FLAVOUR=fuzz fuzz-targets
	@sh scripts/fuzz.sh $(FUZZ)

fuzz-targets: $(FUZZ_TARGETS)

deb:
	@sh scripts/deps.sh deb
	@sh scripts/deb.sh

deb-test: deb
	@sh scripts/deb_test.sh

install: build
	install -D -m 755 $(BUILD)/nearside $(DESTDIR)$(PREFIX)/sbin/nearside
	install -d $(DESTDIR)$(UNITDIR)
	sed 's|/usr/sbin/nearside|$(PREFIX)/sbin/nearside|' conf/systemd/nearside.service >$(DESTDIR)$(UNITDIR)/nearside.service
	chmod 644 $(DESTDIR)$(UNITDIR)/nearside.service
	install -D -m 644 docs/man/nearside.8 $(DESTDIR)$(PREFIX)/share/man/man8/nearside.8
	install -D -m 644 docs/man/nearside.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5/nearside.conf.5
	install -D -m 644 conf/completion/nearside.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/nearside
	install -D -m 644 conf/nearside.conf $(DESTDIR)$(PREFIX)/share/doc/nearside/nearside.conf
	install -D -m 644 conf/minimal.conf $(DESTDIR)$(PREFIX)/share/doc/nearside/minimal.conf
	for folder in prometheus grafana kubernetes; do \
	    install -d $(DESTDIR)$(PREFIX)/share/nearside/$$folder && \
	    install -m 644 conf/$$folder/* $(DESTDIR)$(PREFIX)/share/nearside/$$folder || exit 1; \
	done
	install -d $(DESTDIR)$(PREFIX)/share/doc/nearside/docs
	install -m 644 docs/*.md $(DESTDIR)$(PREFIX)/share/doc/nearside/docs
	install -D -m 644 README.md $(DESTDIR)$(PREFIX)/share/doc/nearside/README.md
	install -D -m 644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/nearside/LICENSE

uninstall:
	rm -rf $(DESTDIR)$(PREFIX)/sbin/nearside $(DESTDIR)$(PREFIX)/share/doc/nearside \
	    $(DESTDIR)$(PREFIX)/share/nearside
	rm -f $(DESTDIR)$(UNITDIR)/nearside.service $(DESTDIR)$(PREFIX)/share/man/man8/nearside.8 \
	    $(DESTDIR)$(PREFIX)/share/man/man5/nearside.conf.5 \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/nearside

clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
