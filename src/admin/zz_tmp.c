#include <nearside/admin/admin.h>
#include <nearside/admin/docs.h>
#include <nearside/base/mem.h>
#include <unistd.h>
struct admin { int fd; };
struct admin *admin_new(struct loop *l, struct fleet *f, const struct admin_source *s) { (void)l;(void)f;(void)s; return mem_new(struct admin);}
void admin_free(struct admin *a) { mem_free(a);}
enum status admin_bind(const struct addr *a, int *r, struct errbuf *e) {(void)a;(void)e;*r=-1;return STATUS_OK;}
void admin_serve(struct admin *a,int fd,const char*t,bool l){(void)a;(void)fd;(void)t;(void)l;}
void admin_set_token(struct admin *a,const char*t){(void)a;(void)t;}
void admin_metrics_docs(struct buf *out){(void)out;}
