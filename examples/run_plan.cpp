// A C++ program runs a plan: it reserves twice, loads every instance at its planned pointers, and
// keeps the locks and the order that the plan relies on. It needs plan.h and nothing else of ours.
//
//     arena plan docs/fleets/street-corner.yaml -o plan.json
//     arena export plan.json --c-header -o plan.h
//     g++ -std=c++17 -pthread -I. examples/run_plan.cpp -o run_plan && ./run_plan
//
// Without CANN the memory is the host's, and an execution fills its work buffer and looks again:
// damage is counted. With CANN: -DWITH_ACL -I$ASCEND_HOME/include -L$ASCEND_HOME/lib64 -lascendcl.

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "plan.h"

#ifdef WITH_ACL
#include "acl/acl.h"
#endif

namespace {

std::uint64_t in_pages(std::uint64_t bytes) {
    return (bytes + ARENA_PAGE_BYTES - 1) / ARENA_PAGE_BYTES * ARENA_PAGE_BYTES;
}

std::uint8_t *reserve(std::uint64_t bytes) {
    void *block = nullptr;
#ifdef WITH_ACL
    if (aclrtMalloc(&block, in_pages(bytes), ACL_MEM_MALLOC_HUGE_FIRST) != ACL_SUCCESS) block = nullptr;
#else
    block = std::aligned_alloc(ARENA_PAGE_BYTES, in_pages(bytes));
#endif
    if (block == nullptr) {
        std::fprintf(stderr, "cannot reserve %llu bytes\n", static_cast<unsigned long long>(bytes));
        std::exit(3);
    }
    return static_cast<std::uint8_t *>(block);
}

// One loaded model. One of them serves all steps on its lane, of all channels.
struct Instance {
    const arena_instance *row = nullptr;
    std::uint8_t *work = nullptr;
    std::uint8_t *weights = nullptr;
    std::uint32_t model_id = 0;

    void load(const arena_instance &planned, std::uint8_t *work_base, std::uint8_t *weight_base) {
        row = &planned;
        work = planned.work_offset == ARENA_OUTSIDE ? nullptr : work_base + planned.work_offset;
        weights = planned.weight_offset == ARENA_OUTSIDE ? nullptr : weight_base + planned.weight_offset;
#ifdef WITH_ACL
        if (aclmdlLoadFromFileWithMem(planned.file, &model_id, work, planned.work_bytes, weights,
                                      planned.weight_bytes) != ACL_SUCCESS)
            std::exit(3);
#endif
    }

    // Returns whether the work buffer was its own all the time. The caller holds the lane's lock.
    bool execute(std::uint8_t mark) const {
#ifdef WITH_ACL
        (void)mark;  // Your datasets, as ever: aclmdlExecute(model_id, inputs, outputs).
        return true;
#else
        std::memset(work, mark, row->work_bytes);
        std::this_thread::yield();
        for (std::uint64_t i = 0; i < row->work_bytes; ++i)
            if (work[i] != mark) return false;
        return true;
#endif
    }
};

}  // namespace

int main() {
    std::uint8_t *work = reserve(ARENA_WORK_BYTES);
    std::uint8_t *weights = reserve(ARENA_WEIGHT_BYTES);
    std::vector<Instance> instances(ARENA_INSTANCE_COUNT);
    for (int i = 0; i < ARENA_INSTANCE_COUNT; ++i) instances[i].load(arena_instances[i], work, weights);

    std::mutex vision, tracking, audio;  // A lane is a lock (and, with CANN, a stream of its own).
    std::atomic<int> executions{0}, damaged{0};
    auto run = [&](std::mutex &lane, int which, int mark) {
        std::lock_guard<std::mutex> held(lane);
        if (!instances[which].execute(static_cast<std::uint8_t>(mark))) ++damaged;
        ++executions;
    };
    auto camera = [&](int channel) {
        for (int frame = 0; frame < 5; ++frame) {  // One at a time: frames_in_flight is 1.
            run(vision, ARENA_DETECTOR_VISION, 10 + channel);
            run(vision, ARENA_READER_VISION, 20 + channel);  // after: detect
            run(tracking, ARENA_TRACKER_TRACKING, 30 + channel);  // after: detect
        }
    };
    auto microphone = [&] {
        for (int frame = 0; frame < 5; ++frame) run(audio, ARENA_SOUND_AUDIO, 40);
    };
    std::vector<std::thread> threads;
    for (int channel = 0; channel < 4; ++channel) threads.emplace_back(camera, channel);
    threads.emplace_back(microphone);
    for (auto &thread : threads) thread.join();

    std::printf("%d executions, %d damaged, in %llu MiB\n", executions.load(), damaged.load(),
                static_cast<unsigned long long>(
                    (in_pages(ARENA_WORK_BYTES) + in_pages(ARENA_WEIGHT_BYTES)) >> 20));
    return damaged == 0 ? 0 : 1;
}
