// Loads each method of a .pte, and prints its name, the bytes that it took of the method allocator, the bytes of the
// pool when the plan's arenas come first and the inputs' list last, the least size of the temp allocator that spares the
// method allocator, and the bytes that it took of that without a temp allocator.
//
//   load_methods program.pte [kernel to stand in for]...
//
// Nothing is executed. What the host's runtime lacks is stood in for: kernels by name, and the Ethos-U backend by one
// that takes of the method allocator the handle that the real one takes.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <executorch/extension/data_loader/buffer_data_loader.h>
#include <executorch/runtime/backend/interface.h>
#include <executorch/runtime/executor/program.h>
#include <executorch/runtime/kernel/operator_registry.h>
#include <executorch/runtime/platform/runtime.h>

using namespace executorch::runtime;

namespace {

constexpr size_t kPoolAlignment = 16;

struct Pool {
  explicit Pool(size_t size) : data(static_cast<uint8_t*>(std::aligned_alloc(kPoolAlignment, size))), size(size) {}
  ~Pool() {
    std::free(data);
  }
  uint8_t* data;
  size_t size;
};

class EthosU final : public BackendInterface {
 public:
  bool is_available() const override {
    return true;
  }
  Result<DelegateHandle*> init(BackendInitContext& context, FreeableBuffer*, ArrayRef<CompileSpec>) const override {
    return context.get_runtime_allocator()->allocateList<void*>(9);
  }
  Error execute(BackendExecutionContext&, DelegateHandle*, Span<EValue*>) const override {
    return Error::NotSupported;
  }
};

void check(bool good, const char* what) {
  if (!good) {
    std::fprintf(stderr, "failed: %s\n", what);
    std::exit(1);
  }
}

// What loading takes of the method allocator, with a temp allocator of `temp_size` bytes.
size_t load(const Program& program, const char* name, bool as_runner, size_t temp_size) {
  auto meta = program.method_meta(name);
  check(meta.ok(), "method_meta");
  Pool method_pool(64 << 20), temp_pool(1 << 20), planned_pool(64 << 20);
  temp_pool.size = temp_size;
  MemoryAllocator method_allocator(method_pool.size, method_pool.data);
  MemoryAllocator temp_allocator(temp_pool.size, temp_pool.data);
  MemoryAllocator planned_allocator(planned_pool.size, planned_pool.data);
  MemoryAllocator& arenas = as_runner ? method_allocator : planned_allocator;
  std::vector<Span<uint8_t>> spans;
  for (size_t index = 0; index < meta->num_memory_planned_buffers(); ++index) {
    size_t size = meta->memory_planned_buffer_size(index).get();
    uint8_t* data = size == 0 ? nullptr : static_cast<uint8_t*>(arenas.allocate(size, kPoolAlignment));
    check(size == 0 || data != nullptr, "arena");
    spans.push_back({data, size});
  }
  HierarchicalAllocator planned({spans.data(), spans.size()});
  MemoryManager manager(&method_allocator, &planned, &temp_allocator);
  auto method = program.load_method(name, &manager);
  check(method.ok(), "load_method");
  if (as_runner) {
    check(method_allocator.allocateList<EValue>(method->inputs_size()) != nullptr, "inputs");
  }
  return method_allocator.used_size();
}

// The least size of the temp allocator with which loading takes no more of the method allocator than with a large one.
size_t least_temp(const Program& program, const char* name) {
  size_t few = load(program, name, false, 1 << 20), low = 0, high = 1 << 20;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (load(program, name, false, middle) == few) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

} // namespace

int main(int count, char** arguments) {
  runtime_init();
  static EthosU ethos_u;
  check(register_backend({"EthosUBackend", &ethos_u}) == Error::Ok, "register_backend");
  for (int index = 2; index < count; ++index) {
    Kernel kernel(arguments[index], [](KernelRuntimeContext&, Span<EValue*>) {});
    check(register_kernel(kernel) == Error::Ok, "register_kernel");
  }
  std::ifstream file(arguments[1], std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  // A segment's alignment in the file is only worth something in a file that is aligned.
  Pool pte((bytes.size() + 4095) / 4096 * 4096);
  std::copy(bytes.begin(), bytes.end(), pte.data);
  executorch::extension::BufferDataLoader loader(pte.data, bytes.size());
  auto program = Program::load(&loader);
  check(program.ok(), "Program::load");
  for (size_t index = 0; index < program->num_methods(); ++index) {
    const char* name = program->get_method_name(index).get();
    size_t method = load(*program, name, false, 1 << 20), runner = load(*program, name, true, 1 << 20);
    size_t without_temp = load(*program, name, false, 0);
    std::printf("%s %zu %zu %zu %zu\n", name, method, runner, least_temp(*program, name), without_temp);
  }
}
